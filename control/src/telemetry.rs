//! What is made of the observations of connections: lines of the access log, counters, the stream of flows, and the list
//! of those that stand.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use engine::observe::Observation;
use tracing::warn;

use crate::access_log::AccessLog;
use crate::environment::Environment;
use crate::failures::Failures;
use crate::flows::Flows;
use crate::metrics::Connections;
use crate::plane::DataPlane;
use crate::standing::Standing;
use crate::waits::until;

/// Observations looked at before other work of the thread gets its turn.
const OBSERVATIONS_PER_TURN_MAX: usize = 64;

/// Between two counts of what is open, after observations were lost: every shard looks at all of its connections for one.
const RECOUNT_PAUSE_SECONDS: u64 = 10;

/// Outlives a run of the control thread: counters go on, and so do readers of flows.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    pub(crate) access_log: AccessLog,
    pub(crate) connections: Connections,
    pub(crate) flows: Flows,
    pub(crate) standing: Standing,
    pub(crate) failures: Failures,
    /// Observations of which it was told that they are lost.
    lost: Arc<AtomicU64>,
}

impl Telemetry {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self {
            access_log: AccessLog { findings_at_info: environment.log.findings_at_info },
            connections: Connections::new(environment.series),
            flows: Flows::new(),
            standing: Standing::default(),
            failures: Failures::default(),
            lost: Arc::default(),
        }
    }

    pub(crate) fn note(&self, observation: &Observation) {
        self.access_log.write(observation);
        self.connections.count(observation, Instant::now());
        let now = SystemTime::now();
        self.flows.note(observation, now);
        self.failures.note(observation, now);
        self.standing.note(observation);
    }

    /// Takes in whatever is observed, and tells when some of it was lost: then it is counted what is open, as soon as
    /// nothing waits to be taken in that the count knows already.
    pub(crate) async fn follow(&self, plane: &impl DataPlane) -> Infallible {
        let mut counted: Option<tokio::time::Instant> = None;
        let mut recount = None;
        loop {
            for _ in 0..OBSERVATIONS_PER_TURN_MAX {
                tokio::select! {
                    biased;
                    observation = plane.next_observation() => self.note(&observation),
                    () = until(recount) => {
                        (recount, counted) = (None, Some(tokio::time::Instant::now()));
                        self.count_open(plane).await;
                    }
                }
                let lost = plane.lost_observations();
                let told = self.lost.swap(lost, Ordering::Relaxed);
                if lost == told {
                    continue;
                }
                warn!(
                    lines = lost - told,
                    "access log lines lost: connections come and go faster than they can be written down"
                );
                self.standing.forget();
                self.connections.distrust_open(Instant::now());
                let pause = Duration::from_secs(RECOUNT_PAUSE_SECONDS);
                recount = Some(counted.map_or_else(tokio::time::Instant::now, |last| last + pause));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn count_open(&self, plane: &impl DataPlane) {
        let pods = plane.connections_of_pods().await;
        let (outbound, inbound) = (pods.iter().map(|pod| pod.outbound), pods.iter().map(|pod| pod.inbound));
        self.connections.set_open(outbound.sum::<usize>() as u64, inbound.sum::<usize>() as u64);
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
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

    #[tokio::test(start_paused = true)]
    async fn what_is_open_is_counted_anew_after_a_loss_even_if_nothing_more_happens() {
        let plane = StandIn::default();
        plane.observations.borrow_mut().push_back(completed(1));
        let telemetry = Telemetry::new(&environment(&[]));
        let mut following = std::pin::pin!(telemetry.follow(&plane));
        plane.lost.set(1);
        poll_once(following.as_mut()).await;
        let soon = Duration::from_secs(RECOUNT_PAUSE_SECONDS);
        let _ = tokio::time::timeout(soon, following.as_mut()).await;
        assert_eq!(telemetry.connections.open(), (3, 4), "as the data plane has it");
        // A loss alone, with nothing that follows it, is told by the next observation.
        plane.lost.set(2);
        plane.observations.borrow_mut().push_back(completed(2));
        let _ = tokio::time::timeout(2 * soon, following.as_mut()).await;
        assert_eq!(telemetry.connections.open(), (3, 4));
    }
}
