//! Brings the data plane to what is known: the mesh, the pods of this node, their certificates.
//!
//! The only place where the three come together, wherever they come from. The order of a step is fixed: pods that are
//! gone leave, the snapshot is published, then new pods come, and only then their certificates are asked for. A pod is
//! served before its certificate is there: its connections wait a moment for one, and an agent that asked for it is
//! answered at once. What becomes wrong later changes nothing, and is told once.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use engine::mesh::{Change, Holder, Identity, Snapshot};
use engine::tls::{Credentials, Revocations};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::certificates::{CertificateEvent, Wants};
use crate::crl::Crl;
use crate::local::{LocalError, LocalMesh, PodChanges, PodsFile};
use crate::plane::DataPlane;
use crate::pods::{NodePod, Pods};
use crate::readiness::{Readiness, Task};
use crate::status::{Plane, Status};
use crate::turns::Turns;
use crate::waits::until;
use crate::zds::PodEvent;

/// Changes that are taken together before a snapshot is published: a burst becomes one snapshot, and its first change
/// does not wait for the last.
const EVENTS_PER_STEP_MAX: usize = 64;

/// The last snapshot, for whoever wants to look at it. It outlives a run of the control thread: the next one goes on
/// from it, so that the shards never get less than they had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest(Arc<Mutex<Arc<Snapshot>>>);

/// Where the mesh comes from.
pub(crate) enum MeshFeed {
    Local(Box<LocalMesh>),
    /// A client that turns what its server says into changes of everything it said before.
    Plane(mpsc::Receiver<MeshUpdate>),
}

/// What a control plane says of the mesh.
#[derive(Debug, Default)]
pub(crate) struct MeshUpdate {
    pub(crate) changes: Vec<Change>,
    /// All of the mesh has been told: from here on what is not in the snapshot is not in the mesh.
    pub(crate) synced: bool,
    /// A part of what was said at once: the rest follows.
    pub(crate) more: bool,
}

/// Where the pods of this node come from.
pub(crate) enum PodFeed {
    File(Box<PodsFile>),
    /// A client of a node agent, which waits for each change until it was tried.
    Agent(mpsc::Receiver<PodEvent>),
    /// Dedicated mode: there is one, known from the start.
    Own,
}

pub(crate) struct Reconciler {
    pub(crate) mesh: MeshFeed,
    pub(crate) pod_feed: PodFeed,
    pub(crate) pods: Pods,
    /// Who waits until what is known now was tried.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    pub(crate) wants: watch::Sender<Wants>,
    pub(crate) certificates: mpsc::Receiver<CertificateEvent>,
    pub(crate) crl: Option<Crl>,
    /// What the shards get next.
    pub(crate) snapshot: Snapshot,
    pub(crate) latest: Latest,
    pub(crate) status: Status,
    /// The snapshot is not what was published last.
    pub(crate) changed: bool,
    /// Of what was said last the rest is still to come: it is published as a whole.
    pub(crate) partial: bool,
    /// Changes of what was said last, and those of them that were known.
    pub(crate) counted: (usize, usize),
    /// The mesh is known as a whole.
    pub(crate) synced: bool,
}

/// What a feed of pods has to say.
pub(crate) enum PodNews {
    File(PodChanges),
    Agent(PodEvent),
}

/// What woke the reconciler.
enum Event {
    Mesh(Result<MeshUpdate, LocalError>),
    Pods(Result<PodNews, LocalError>),
    Certificate(CertificateEvent),
    Revocations(Arc<Revocations>),
    Time,
}

impl Reconciler {
    /// Reconciles until dropped.
    pub(crate) async fn run(mut self, plane: &impl DataPlane, readiness: &Readiness) -> Infallible {
        loop {
            self.settle(plane, readiness).await;
            let event = self.next_event().await;
            self.take(event);
            // What else is there already goes into the same snapshot.
            for _ in 0..EVENTS_PER_STEP_MAX {
                let Ok(event) = self.certificates.try_recv() else { break };
                self.take(Event::Certificate(event));
            }
        }
    }

    /// Brings the data plane to what is known now.
    pub(crate) async fn settle(&mut self, plane: &impl DataPlane, readiness: &Readiness) {
        self.pods.remove_gone(plane).await;
        let wants = self.release_certificates();
        if self.changed && !self.partial {
            self.changed = false;
            let snapshot = Arc::new(self.snapshot.clone());
            self.latest.set(Arc::clone(&snapshot));
            plane.publish(snapshot);
        }
        readiness.set(Task::StateManager, self.synced);
        if self.synced {
            // Before the mesh is known, who is in it looks like who is not: nothing may be passed through in plaintext.
            self.pods.add_missing(plane).await;
        }
        readiness.set(Task::WorkloadProxyManager, self.pods.all_carried());
        for tried in self.waiting.drain(..) {
            // Whoever waited may be gone.
            let _ = tried.send(());
        }
        if let Some(wants) = wants {
            // Not before its agent was answered: the real one keeps a lock until then that signing needs (contract 1.5).
            self.wants.send_replace(wants);
        }
        self.pods.look_for_others().await;
    }

    /// Every future here can be dropped without losing anything.
    async fn next_event(&mut self) -> Event {
        tokio::select! {
            update = self.mesh.next() => Event::Mesh(update),
            changes = self.pod_feed.next() => Event::Pods(changes),
            lists = next_revocations(&mut self.crl) => Event::Revocations(lists),
            event = next_certificate(&mut self.certificates) => Event::Certificate(event),
            () = until(self.pods.next_try()) => Event::Time,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Mesh(Ok(update)) => {
                self.mesh.note(None, &self.status);
                self.take_mesh(update);
            }
            Event::Mesh(Err(error)) => {
                warn!(%error, "the mesh stays what it was");
                self.mesh.note(Some(&error), &self.status);
            }
            Event::Pods(Ok(PodNews::File(changes))) => {
                self.pod_feed.note(None, &self.status);
                self.pods.apply(changes);
            }
            Event::Pods(Ok(PodNews::Agent(event))) => {
                self.pods.take(event.change);
                self.waiting.push(event.done);
            }
            Event::Pods(Err(error)) => {
                warn!(%error, "the pods stay what they were");
                self.pod_feed.note(Some(&error), &self.status);
            }
            Event::Certificate(event) => self.take_certificate(event),
            Event::Revocations(lists) => {
                self.snapshot.set_revocations(lists);
                self.changed = true;
            }
            Event::Time => {}
        }
    }

    /// A change that says what is known already changes nothing: servers repeat themselves.
    pub(crate) fn take_mesh(&mut self, update: MeshUpdate) {
        let MeshUpdate { changes, synced, more } = update;
        let mut turns = Turns::begin();
        for change in changes {
            turns.give();
            self.counted.0 += 1;
            if self.snapshot.says(&change) {
                self.counted.1 += 1;
                continue;
            }
            self.snapshot.apply(change);
            self.changed = true;
        }
        self.partial = more;
        if more {
            return;
        }
        let (said, repeated) = std::mem::take(&mut self.counted);
        if said > 0 {
            info!(changes = said - repeated, repeated, "the mesh has changed");
        }
        if synced && !self.synced {
            self.synced = true;
            self.status.update(|state| state.synced = true);
        }
    }

    fn take_certificate(&mut self, event: CertificateEvent) {
        match event {
            CertificateEvent::Obtained { holder, credentials } => self.use_certificate(holder, credentials),
            CertificateEvent::Failed { holder, cause } => self.complain(holder, cause),
            CertificateEvent::Withdrawn { holder, cause } => {
                self.changed |= self.snapshot.remove_credentials(&holder);
                self.complain(holder, cause);
            }
        }
    }

    fn use_certificate(&mut self, holder: Holder, credentials: Arc<Credentials>) {
        if !self.is_wanted(&holder) {
            return;
        }
        let now = SystemTime::now();
        let left = credentials.not_after.duration_since(now).unwrap_or_default();
        let old = self.snapshot.credentials_of(&holder);
        if left.is_zero() && old.is_some_and(|old| old.not_after > now) {
            self.complain(holder, "the certificate that came has expired; the one in use is kept".to_owned());
            return;
        }
        let is_new = !old.is_some_and(|old| Arc::ptr_eq(old, &credentials));
        self.status.update(|state| {
            let status = state.certificates.entry(holder.clone()).or_default();
            (status.error, status.failures) = (None, 0);
            status.obtained += u64::from(is_new);
        });
        let seconds = left.as_secs();
        if !is_new {
            info!(identity = %holder.identity, pod = holder.pod.as_deref(), seconds, "the certificate in use is still good");
            return;
        }
        info!(identity = %holder.identity, pod = holder.pod.as_deref(), seconds, "certificate obtained");
        self.snapshot.upsert_credentials(holder, credentials);
        self.changed = true;
    }

    fn complain(&self, holder: Holder, error: String) {
        if !self.is_wanted(&holder) {
            return;
        }
        let mut news = false;
        self.status.update(|state| {
            let status = state.certificates.entry(holder.clone()).or_default();
            news = status.error.as_ref() != Some(&error);
            status.failures += 1;
            status.error = Some(error.clone());
        });
        if !news {
            return;
        }
        let (identity, pod) = (&holder.identity, holder.pod.as_deref());
        match self.snapshot.credentials_of(&holder) {
            Some(_) => {
                warn!(%identity, pod, error, "no new certificate; the last one is used until it expires")
            }
            None => warn!(%identity, pod, error, "no certificate; connections are refused"),
        }
    }

    /// Forgets certificates that no pod needs any more. What is wanted now is returned, if that is something else.
    fn release_certificates(&mut self) -> Option<Wants> {
        let mut wants = Wants::new();
        for pod in self.pods.wanted() {
            wants.entry(self.identity_of(pod)).or_default().insert(pod.uid());
        }
        if *self.wants.borrow() == wants {
            return None;
        }
        let held = self.snapshot.holders().map(|(holder, _)| holder);
        let released: Vec<Holder> = held.filter(|holder| !wanted(&wants, holder)).collect();
        for holder in released {
            self.changed |= self.snapshot.remove_credentials(&holder);
        }
        self.status.update(|state| state.certificates.retain(|holder, _| wanted(&wants, holder)));
        Some(wants)
    }

    fn is_wanted(&self, holder: &Holder) -> bool {
        wanted(&self.wants.borrow(), holder)
    }

    /// What a pod proves: as the mesh describes it, or by its names where the mesh does not know it yet.
    fn identity_of(&self, pod: &NodePod) -> Identity {
        let (name, namespace, account) = pod.names();
        match self.snapshot.workload_of_pod(name, namespace, account) {
            Some(workload) => workload.identity.clone(),
            None => self.snapshot.settings().identity("", namespace, account),
        }
    }
}

fn wanted(wants: &Wants, holder: &Holder) -> bool {
    let Some(pods) = wants.get(&holder.identity) else { return false };
    holder.pod.as_ref().is_none_or(|pod| pods.contains(pod))
}

// === impl Latest ===

impl Latest {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Arc::new(Mutex::new(snapshot)))
    }

    pub(crate) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, snapshot: Arc<Snapshot>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

// === impl MeshFeed ===

impl MeshFeed {
    /// What is new; waits for it. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<MeshUpdate, LocalError> {
        match self {
            Self::Local(mesh) => {
                mesh.changes().await.map(|changes| MeshUpdate { changes, synced: true, more: false })
            }
            Self::Plane(updates) => match updates.recv().await {
                Some(update) => Ok(update),
                None => pending().await,
            },
        }
    }

    /// Tells what became of the last reading of its file, where it is one.
    pub(crate) fn note(&self, error: Option<&LocalError>, status: &Status) {
        if let Self::Local(mesh) = self
            && let Some(path) = mesh.path()
        {
            status.read_file(Plane::MeshFile, path, error.map(LocalError::to_string));
        }
    }
}

// === impl PodFeed ===

impl PodFeed {
    /// Tells what became of the last reading of its file, where it is one.
    pub(crate) fn note(&self, error: Option<&LocalError>, status: &Status) {
        if let Self::File(file) = self {
            status.read_file(Plane::PodsFile, file.path(), error.map(LocalError::to_string));
        }
    }

    pub(crate) async fn next(&mut self) -> Result<PodNews, LocalError> {
        match self {
            Self::File(file) => file.changes().await.map(PodNews::File),
            Self::Agent(events) => match events.recv().await {
                Some(event) => Ok(PodNews::Agent(event)),
                None => pending().await,
            },
            Self::Own => pending().await,
        }
    }
}

async fn next_revocations(crl: &mut Option<Crl>) -> Arc<Revocations> {
    match crl {
        Some(crl) => crl.changed().await,
        None => pending().await,
    }
}

/// Whoever obtained them may be gone: then none comes any more.
async fn next_certificate(certificates: &mut mpsc::Receiver<CertificateEvent>) -> CertificateEvent {
    match certificates.recv().await {
        Some(event) => event,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
