//! The SVIDs of one holder, followed for as long as it is wanted.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use engine::mesh::Holder;
use engine::tls::Suites;
use proto::spire::{Selector, SubscribeToX509sviDsRequest, SubscribeToX509sviDsResponse};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use tracing::debug;

use super::agent::{Agent, Begun, PAUSE_MIN};
use super::held::Held;
use super::roots::Roots;
use super::runtime::Runtime;
use super::svid;
use crate::backoff::{Backoff, spread};
use crate::certificates::CertificateEvent;
use crate::waits::until;

/// The longest pause before a stream that broke is opened again.
const STREAM_PAUSE_SECONDS_MAX: u64 = 30;

/// The pause before a pod whose containers have not started is looked at again.
pub(super) const START_PAUSE_SECONDS: u64 = 2;

/// How long an SVID may be missing before it counts as withdrawn: an entry that is deleted and made again may be away
/// from one sync of the agent to the next, 5 s and more, and an agent that has just started gets the rest of its entries
/// with its next syncs.
const WITHDRAWAL_SECONDS: u64 = 15;

/// How often it is made sure that the stream is still the right one.
const CHECK_SECONDS: u64 = 30;

pub(super) struct Subscription {
    holder: Holder,
    agent: Agent,
    /// With attestation by process.
    runtime: Option<Runtime>,
    roots: watch::Receiver<Roots>,
    events: mpsc::Sender<CertificateEvent>,
    held: Held,
    /// What was told last is that something is wrong.
    complained: bool,
    /// When our SVID counts as withdrawn unless it comes back, and why.
    missing: Option<(Instant, String)>,
}

/// Why a stream was left.
enum Left {
    /// Something is wrong; longer and longer pauses.
    Failed(String),
    /// No container of the pod runs yet.
    NotStarted(String),
    /// The stream is for a process that the pod does not run any more, or came to nothing.
    Outdated,
}

// === impl Subscription ===

impl Subscription {
    pub(super) fn new(
        holder: Holder,
        agent: Agent,
        runtime: Option<Runtime>,
        roots: watch::Receiver<Roots>,
        events: mpsc::Sender<CertificateEvent>,
        suites: Suites,
    ) -> Self {
        Self {
            holder,
            agent,
            runtime,
            roots,
            events,
            held: Held::new(suites),
            complained: false,
            missing: None,
        }
    }

    pub(super) async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::between(PAUSE_MIN, Duration::from_secs(STREAM_PAUSE_SECONDS_MAX));
        loop {
            self.agent_there().await;
            let begun = Instant::now();
            let Err(left) = self.follow().await;
            self.missing = None;
            let pause = match left {
                Left::Failed(cause) => {
                    self.fail(cause).await;
                    backoff.next_after(begun.elapsed())
                }
                Left::NotStarted(cause) => {
                    self.fail(cause).await;
                    spread(Duration::from_secs(START_PAUSE_SECONDS))
                }
                Left::Outdated => {
                    debug!(identity = %self.holder.identity, pod = self.holder.pod.as_deref(), "subscribing anew");
                    backoff.next_after(begun.elapsed())
                }
            };
            sleep(pause).await;
        }
    }

    /// Waits for the agent with its roots, and tells what is wrong with it meanwhile.
    async fn agent_there(&mut self) {
        loop {
            let trouble = {
                let roots = self.roots.borrow_and_update();
                if roots.standing && roots.bundle.is_some() {
                    return;
                }
                roots.trouble.clone()
            };
            if let Some(cause) = trouble {
                self.fail(cause).await;
            }
            if self.roots.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Opens a stream and follows it to its end.
    async fn follow(&mut self) -> Result<Infallible, Left> {
        let process = self.process().await?;
        let Begun { first, mut stream } =
            self.agent.svids(self.request(process)).await.map_err(Left::Failed)?;
        // The number may have been given to another process meanwhile: only if the pod still has it, the agent looked at
        // a process of the pod.
        if let Some(process) = process
            && !self.processes().await?.contains(&process)
        {
            return Err(Left::Outdated);
        }
        self.take(first).await;
        let mut check = next_check();
        loop {
            let withdrawal = self.missing.as_ref().map(|(at, _)| *at);
            tokio::select! {
                message = stream.message() => self.pushed(message, process).await?,
                Ok(()) = self.roots.changed() => self.settle().await,
                () = until(withdrawal) => self.withdraw().await,
                () = sleep_until(check) => {
                    self.check(process).await?;
                    check = next_check();
                }
            }
        }
    }

    fn request(&self, process: Option<i32>) -> SubscribeToX509sviDsRequest {
        if let Some(pid) = process {
            return SubscribeToX509sviDsRequest { selectors: Vec::new(), pid };
        }
        let identity = &self.holder.identity;
        let selector = |value| Selector { r#type: "k8s".to_owned(), value };
        let selectors = vec![
            selector(format!("ns:{}", identity.namespace)),
            selector(format!("sa:{}", identity.service_account)),
        ];
        SubscribeToX509sviDsRequest { selectors, pid: 0 }
    }

    /// The process that is to be attested, if one is.
    async fn process(&self) -> Result<Option<i32>, Left> {
        let (Some(_), Some(pod)) = (&self.runtime, &self.holder.pod) else { return Ok(None) };
        match self.processes().await?.first() {
            Some(process) => Ok(Some(*process)),
            None => Err(Left::NotStarted(format!(
                "the container runtime knows no running container of pod {pod} yet"
            ))),
        }
    }

    async fn processes(&self) -> Result<BTreeSet<i32>, Left> {
        let (Some(runtime), Some(pod)) = (&self.runtime, &self.holder.pod) else {
            return Ok(BTreeSet::new());
        };
        runtime.processes(pod).await.map_err(Left::Failed)
    }

    async fn pushed(
        &mut self,
        message: Result<Option<SubscribeToX509sviDsResponse>, Status>,
        process: Option<i32>,
    ) -> Result<(), Left> {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Left::Failed(self.agent.ended(Ok(())))),
            Err(status) => return Err(Left::Failed(self.agent.ended(Err(status)))),
        };
        // What the stream is for was attested when it began: a rotation does not wait for the container runtime.
        self.take(message).await;
        self.still_runs(process).await
    }

    /// What is not in the message is missing, and withdrawn unless it comes back.
    async fn take(&mut self, message: SubscribeToX509sviDsResponse) {
        match svid::pick(message, &self.holder.identity) {
            Ok(svid) => {
                self.missing = None;
                self.held.offer(svid);
                self.settle().await;
                self.confirm().await;
            }
            Err(cause) => {
                let at = Instant::now() + Duration::from_secs(WITHDRAWAL_SECONDS);
                let at = self.missing.as_ref().map_or(at, |(earlier, _)| at.min(*earlier));
                self.missing = Some((at, cause));
            }
        }
    }

    async fn settle(&mut self) {
        let Some(bundle) = self.roots.borrow_and_update().bundle.clone() else { return };
        let verdict = self.held.settle(&self.holder.identity, &bundle, SystemTime::now());
        if let Some(credentials) = verdict.credentials {
            let holder = self.holder.clone();
            self.tell(CertificateEvent::Obtained { holder, credentials }).await;
        }
        if let Some(cause) = verdict.refused {
            self.fail(cause).await;
        }
    }

    /// An agent that is back and repeats itself: what is in use is still good.
    async fn confirm(&mut self) {
        let recovered = self.complained && !self.held.has_offer();
        let Some(credentials) = self.held.credentials().filter(|_| recovered) else { return };
        if self.held.overdue(SystemTime::now()).is_none() {
            let holder = self.holder.clone();
            self.tell(CertificateEvent::Obtained { holder, credentials }).await;
        }
    }

    async fn withdraw(&mut self) {
        let Some((_, cause)) = self.missing.take() else { return };
        if self.held.withdraw() {
            let holder = self.holder.clone();
            self.tell(CertificateEvent::Withdrawn { holder, cause }).await;
        } else {
            self.fail(cause).await;
        }
    }

    /// Whether this is still the stream to follow: nobody says when the process behind it ends, or when an agent has
    /// stopped to work.
    async fn check(&mut self, process: Option<i32>) -> Result<(), Left> {
        self.still_runs(process).await?;
        // What the agent found out about the process when the stream was opened is all that it goes by.
        if process.is_some() && self.held.is_empty() {
            return Err(Left::Outdated);
        }
        self.settle().await;
        self.held.overdue(SystemTime::now()).map_or(Ok(()), |late| Err(Left::Failed(late)))
    }

    /// A pod with other processes than the one attested is attested anew. A runtime that does not answer, or a pod none
    /// of whose containers runs just now, is no reason to let go of what we have.
    async fn still_runs(&self, process: Option<i32>) -> Result<(), Left> {
        let Some(process) = process else { return Ok(()) };
        match self.processes().await {
            Ok(processes) if !processes.is_empty() && !processes.contains(&process) => Err(Left::Outdated),
            _ => Ok(()),
        }
    }

    async fn fail(&mut self, cause: String) {
        self.tell(CertificateEvent::Failed { holder: self.holder.clone(), cause }).await;
    }

    async fn tell(&mut self, event: CertificateEvent) {
        self.complained = matches!(event, CertificateEvent::Failed { .. });
        // Nobody listens any more: this task is about to be dropped.
        let _ = self.events.send(event).await;
    }
}

fn next_check() -> Instant {
    Instant::now() + spread(Duration::from_secs(CHECK_SECONDS))
}
