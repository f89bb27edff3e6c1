//! The connection to the node agent: made, kept, and made anew for ever.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::packet::{PacketError, Socket};
use super::session::{Refusal, Session, answer, hello};
use super::{PodChange, PodEvent};
use crate::backoff::Backoff;
use crate::status::{Plane, Status};
use crate::succession::Succession;
use crate::waits::told;

/// A connection that lasted so long was a good one: the next failure is the first again. What breaks off sooner, even
/// behind a whole snapshot, may do so for ever.
const STEADY_SECONDS: u64 = 10;

/// How a connection came to its end, or why there is none.
#[derive(Debug, Error)]
enum Ended {
    #[error(
        "no node agent can be reached: {0}; check that it runs, and that the directory of its socket is mounted here"
    )]
    Unreachable(io::Error),
    #[error("the node agent went away after it had named all pods; it is expected to come back")]
    Closed,
    #[error("the node agent broke off before it had named all pods; its log says at which pod")]
    BrokenOff,
    #[error("what the node agent sent cannot be received: {0}")]
    Packet(PacketError),
    #[error(
        "the node agent sent what cannot be followed: {0}; it and this proxy are of versions that do not fit"
    )]
    Refused(Refusal),
    #[error("the node agent cannot be answered: {0}")]
    Unanswered(io::Error),
    /// By us, and nothing is wrong.
    #[error("the proxy before this one has gone")]
    Anew,
}

/// Follows a node agent.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    events: mpsc::Sender<PodEvent>,
    status: Status,
    backoff: Backoff,
    /// Changes when the agent may have told somebody else what we should know.
    anew: watch::Receiver<()>,
    succeeded: watch::Receiver<bool>,
}

impl Client {
    pub(crate) fn new(
        path: PathBuf,
        events: mpsc::Sender<PodEvent>,
        status: Status,
        succession: &Succession,
    ) -> Self {
        let (anew, succeeded) = (succession.follow_anew(), succession.succeeded());
        Self { path, events, status, backoff: Backoff::default(), anew, succeeded }
    }

    /// Follows the agent until dropped.
    pub(crate) async fn run(mut self) -> Infallible {
        let address = self.path.display().to_string();
        self.status.begun(Plane::Zds, &address, "connecting");
        let mut told = String::new();
        loop {
            let begun = Instant::now();
            let Err(ended) = self.follow(&address).await;
            if matches!(ended, Ended::Anew) {
                info!(address, "connecting to the node agent anew: {ended}");
                continue;
            }
            if begun.elapsed() >= Duration::from_secs(STEADY_SECONDS) {
                self.backoff.reset();
                told.clear();
            }
            let error = ended.to_string();
            self.status.disconnected(Plane::Zds, &address, error.clone());
            self.tell(PodChange::Lost).await;
            if error == told {
                debug!(address, error, "not connected to the node agent");
            } else {
                warn!(address, error, "not connected to the node agent; pods go on as they are");
            }
            told = error;
            sleep(self.backoff.next()).await;
            // Ours would end the connection of the one that is to replace us.
            let _ = self.succeeded.wait_for(|succeeded| !succeeded).await;
        }
    }

    /// One connection to its end.
    async fn follow(&mut self, address: &str) -> Result<Infallible, Ended> {
        self.anew.mark_unchanged();
        let socket = Socket::connect(&self.path).map_err(Ended::Unreachable)?;
        socket.send(&hello()).await.map_err(Ended::Unanswered)?;
        info!(address, "connected to the node agent");
        self.status.connected(Plane::Zds, address);
        let mut session = Session::default();
        loop {
            let received = tokio::select! {
                received = receive(&socket, &mut session) => received,
                () = told(&mut self.anew) => return Err(Ended::Anew),
            };
            let change = match received {
                Ok(change) => change,
                Err(ended) => {
                    // Whoever has gone does not hear it.
                    let _ = socket.send(&answer(&ended.to_string())).await;
                    return Err(ended);
                }
            };
            if let Some(change) = change {
                self.tell(change).await;
            }
            socket.send(&answer("")).await.map_err(Ended::Unanswered)?;
        }
    }

    /// Returns when the reconciler has tried it.
    async fn tell(&self, change: PodChange) {
        let (done, tried) = oneshot::channel();
        // Without a reconciler this task is about to be dropped as well.
        if self.events.send(PodEvent { change, done }).await.is_ok() {
            let _ = tried.await;
        }
    }
}

async fn receive(socket: &Socket, session: &mut Session) -> Result<Option<PodChange>, Ended> {
    match socket.receive().await {
        Ok(packet) => session.take(packet).map_err(Ended::Refused),
        Err(PacketError::End) if session.is_complete() => Err(Ended::Closed),
        Err(PacketError::End) => Err(Ended::BrokenOff),
        Err(error) => Err(Ended::Packet(error)),
    }
}

#[cfg(test)]
mod tests;
