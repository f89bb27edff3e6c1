//! What is made of the observations of connections: lines of the access log, counters, the stream of flows, and the list
//! of those that stand.

use std::convert::Infallible;
use std::time::{Instant, SystemTime};

use engine::observe::Observation;
use tracing::warn;

use crate::access_log::AccessLog;
use crate::environment::Environment;
use crate::flows::Flows;
use crate::metrics::Connections;
use crate::plane::DataPlane;
use crate::standing::Standing;

/// Observations looked at before other work of the thread gets its turn.
const OBSERVATIONS_PER_TURN_MAX: usize = 64;

/// Outlives a run of the control thread: counters go on, and so do readers of flows.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    pub(crate) access_log: AccessLog,
    pub(crate) connections: Connections,
    pub(crate) flows: Flows,
    pub(crate) standing: Standing,
}

impl Telemetry {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self {
            access_log: AccessLog { findings_at_info: environment.log.findings_at_info },
            connections: Connections::new(environment.series),
            flows: Flows::new(),
            standing: Standing::default(),
        }
    }

    pub(crate) fn note(&self, observation: &Observation) {
        self.access_log.write(observation);
        self.connections.count(observation, Instant::now());
        self.flows.note(observation, SystemTime::now());
        self.standing.note(observation);
    }

    /// Takes in whatever is observed, and tells when some of it was lost.
    pub(crate) async fn follow(&self, plane: &impl DataPlane) -> Infallible {
        let mut lost = plane.lost_observations();
        loop {
            for _ in 0..OBSERVATIONS_PER_TURN_MAX {
                self.note(&plane.next_observation().await);
            }
            let now = plane.lost_observations();
            if now > lost {
                warn!(
                    lines = now - lost,
                    "access log lines lost: connections come and go faster than they can be written down"
                );
                self.connections.forget_open();
                self.standing.forget();
                lost = now;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::environment::LogFormat;
    use crate::logging::testing::logged;
    use crate::stand_in::{StandIn, completed, environment};

    async fn poll_once(future: Pin<&mut impl Future>) {
        let mut future = future;
        poll_fn(|context| {
            let _ = future.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn every_connection_becomes_a_line_in_turns() {
        let plane = StandIn::default();
        plane.observations.borrow_mut().extend((1..=200).map(completed));
        let telemetry = Telemetry::new(&environment(&[]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lines = logged(LogFormat::Plain, "info", || {
            runtime.block_on(async {
                let mut following = std::pin::pin!(telemetry.follow(&plane));
                // One poll is one turn: other work of the thread comes in between.
                poll_once(following.as_mut()).await;
                assert_eq!(plane.observations.borrow().len(), 200 - OBSERVATIONS_PER_TURN_MAX);
                plane.lost.set(5);
                for _ in 0..200 / OBSERVATIONS_PER_TURN_MAX {
                    poll_once(following.as_mut()).await;
                }
            });
        });
        assert_eq!(lines.matches("connection complete").count(), 200);
        assert_eq!(lines.matches("access log lines lost").count(), 1, "{lines}");
        assert!(lines.contains("lines=5"), "{lines}");
    }
}
