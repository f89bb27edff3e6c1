//! The connection to the node agent: made, kept, and made anew for ever.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::packet::{PacketError, Socket};
use super::session::{Late, Refusal, Session, answer, hello};
use super::{PodChange, PodEvent};
use crate::backoff::Backoff;
use crate::status::{Plane, Status};
use crate::succession::Succession;
use crate::waits::told;

/// A connection that lasted so long was a good one: the next failure is the first again. What breaks off sooner, even
/// behind a whole snapshot, may do so for ever.
const STEADY_SECONDS: u64 = 10;

/// How long an answer waits until what was asked has been tried: an agent holds a lock until then, and a reconciler may
/// have a thousand other pods to see to. It goes on by itself.
const ACK_WAIT_MS: u64 = 1_000;

/// How long an agent may be silent on a connection that it should end, in milliseconds: it ends one that is idle at once.
const HANDOVER_QUIET_MS_MAX: u64 = 2_000;

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

    /// Follows the agent for as long as nothing is wrong.
    async fn follow(&mut self, address: &str) -> Result<Infallible, Ended> {
        self.anew.mark_unchanged();
        let mut socket = self.call().await?;
        info!(address, "connected to the node agent");
        self.status.connected(Plane::Zds, address);
        let mut session = Session::default();
        loop {
            tokio::select! {
                received = receive(&socket, &mut session) => self.serve(&socket, received).await?,
                () = told(&mut self.anew) => {
                    info!(address, "connecting to the node agent anew: the proxy before this one has gone");
                    let next = self.call().await?;
                    session = Session::after(self.finish(&socket, session).await);
                    socket = next;
                }
            }
        }
    }

    async fn call(&self) -> Result<Socket, Ended> {
        let socket = Socket::connect(&self.path).map_err(Ended::Unreachable)?;
        socket.send(&hello()).await.map_err(Ended::Unanswered)?;
        Ok(socket)
    }

    /// Has it tried what was asked, and answers.
    async fn serve(&self, socket: &Socket, asked: Result<Option<PodChange>, Ended>) -> Result<(), Ended> {
        let change = match asked {
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
        socket.send(&answer("")).await.map_err(Ended::Unanswered)
    }

    /// What was on its way on a connection when the agent was called anew, which makes it end that connection as soon as
    /// it waits for no answer there (contract 1.7). What came and went so: the next snapshot may have been made before that
    /// was acked, and knows better in neither case.
    async fn finish(&self, socket: &Socket, mut session: Session) -> Late {
        let mut late = Late::default();
        let quiet = Duration::from_millis(HANDOVER_QUIET_MS_MAX);
        while let Ok(received) = timeout(quiet, receive(socket, &mut session)).await {
            match &received {
                Ok(Some(PodChange::Come(pod))) => late.come(&pod.uid),
                Ok(Some(PodChange::Gone(uid))) => late.gone(uid),
                _ => {}
            }
            if self.serve(socket, received).await.is_err() {
                break;
            }
        }
        late
    }

    /// Returns when the reconciler has tried it, or goes on with it alone.
    async fn tell(&self, change: PodChange) {
        let (done, tried) = oneshot::channel();
        // Without a reconciler this task is about to be dropped as well.
        if self.events.send(PodEvent { change, done }).await.is_ok() {
            let _ = timeout(Duration::from_millis(ACK_WAIT_MS), tried).await;
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
