//! Questions to the data plane from tasks of the control thread.
//!
//! Only the thread's own work holds the data plane; what answers HTTP asks it through here.

use std::convert::Infallible;

use engine::observe::{PodConnections, ShardStatistics};
use tokio::sync::{mpsc, oneshot};

use crate::plane::DataPlane;

/// Questions that wait for their answer: as many as there are requests at a time, and a few more.
const QUESTIONS_MAX: usize = 64;

/// Asks. Clones ask the same data plane.
#[derive(Clone, Debug)]
pub(crate) struct Figures(mpsc::Sender<Question>);

/// The other end: whoever holds it answers.
#[derive(Debug)]
pub(crate) struct Questions(mpsc::Receiver<Question>);

#[derive(Debug)]
enum Question {
    Statistics(oneshot::Sender<Statistics>),
    Connections(oneshot::Sender<Vec<PodConnections>>),
}

/// What the data plane has done so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) shards: Vec<ShardStatistics>,
    /// Observations that were overwritten before they were read.
    pub(crate) lost_observations: u64,
}

pub(crate) fn channel() -> (Figures, Questions) {
    let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
    (Figures(ask), Questions(questions))
}

// === impl Figures ===

impl Figures {
    /// Costs the shards nothing. Empty when the data plane is gone.
    pub(crate) async fn statistics(&self) -> Statistics {
        let (answer, wait) = oneshot::channel();
        let _ = self.0.send(Question::Statistics(answer)).await;
        wait.await.unwrap_or_default()
    }

    /// What each pod has open. Every shard looks at all of its connections for it: for a person who asks.
    pub(crate) async fn connections_of_pods(&self) -> Vec<PodConnections> {
        let (answer, wait) = oneshot::channel();
        let _ = self.0.send(Question::Connections(answer)).await;
        wait.await.unwrap_or_default()
    }
}

// === impl Questions ===

impl Questions {
    /// Answers for as long as it is polled.
    pub(crate) async fn answer(&mut self, plane: &impl DataPlane) -> Infallible {
        loop {
            // Whoever asked may have gone: its answer is dropped.
            match self.0.recv().await {
                Some(Question::Statistics(answer)) => {
                    let _ = answer.send(Statistics {
                        shards: plane.statistics(),
                        lost_observations: plane.lost_observations(),
                    });
                }
                Some(Question::Connections(answer)) => {
                    let _ = answer.send(plane.connections_of_pods().await);
                }
                None => std::future::pending().await,
            }
        }
    }
}
