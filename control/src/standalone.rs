//! Standalone mode: the mesh from a file, the pods of this node from another, certificates from the embedded authority.
//!
//! The only place where the three come together. Files that are wrong at start refuse it; files that become wrong
//! later change nothing, and are told once. The order of a step is fixed: pods that are gone leave, certificates are
//! issued, the snapshot is published, then new pods come: no pod is served before its certificate is with the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::mesh::{Holder, Identity, Snapshot};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::ca::{Authority, CaError};
use crate::environment::{Environment, LocalMesh as MeshSource, Mode};
use crate::local::{LocalError, LocalMesh, PodChanges, PodsFile};
use crate::plane::DataPlane;
use crate::pods::{NodePod, POD_RETRY_SECONDS, Pods, Running};
use crate::readiness::{Readiness, Task};
use crate::renewals::Renewals;

#[derive(Debug, Error)]
pub enum StandaloneError {
    #[error(transparent)]
    File(#[from] LocalError),
    #[error(transparent)]
    Authority(#[from] CaError),
}

pub(crate) struct Standalone {
    mesh: LocalMesh,
    /// None in dedicated mode.
    pods_file: Option<PodsFile>,
    pods: Pods,
    authority: Authority,
    certificate_ttl: Duration,
    renewals: Renewals,
    /// What was last said about an identity that no certificate can be issued for.
    complaints: BTreeMap<Identity, String>,
    /// What the shards get next.
    snapshot: Snapshot,
    /// The snapshot is not what was published last.
    changed: bool,
}

impl Standalone {
    /// Reads everything for the first time.
    pub(crate) async fn open(environment: &Environment, running: Running) -> Result<Self, StandaloneError> {
        let settings = environment.mesh.clone();
        let mut mesh = match &environment.local_mesh {
            MeshSource::File(path) => LocalMesh::file(path, settings.clone()),
            MeshSource::Inline(text) => LocalMesh::inline(text.clone(), settings.clone()),
        };
        let mut snapshot = Snapshot::new(settings);
        for change in mesh.changes().await? {
            snapshot.apply(change);
        }
        let mut pods = Pods::new(running);
        let pods_file = match &environment.mode {
            Mode::Shared { pods: path } => {
                let mut file = PodsFile::new(path);
                pods.apply(file.changes().await?);
                Some(file)
            }
            Mode::Dedicated { workload } => {
                pods.want_own(workload.clone());
                None
            }
        };
        let mut standalone = Self {
            mesh,
            pods_file,
            pods,
            authority: Authority::open(&environment.ca.dir)?,
            certificate_ttl: environment.ca.ttl,
            renewals: Renewals::default(),
            complaints: BTreeMap::new(),
            snapshot,
            changed: true,
        };
        standalone.issue_due();
        Ok(standalone)
    }

    /// What the data plane can be started with.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.snapshot.clone())
    }

    /// Follows the files and renews certificates until dropped.
    pub(crate) async fn run(mut self, plane: &impl DataPlane, readiness: &Readiness) -> Infallible {
        loop {
            self.settle(plane, readiness).await;
            let wake = self.next_wake();
            // Every future here can be dropped without losing anything.
            tokio::select! {
                changes = self.mesh.changes() => match changes {
                    Ok(changes) => self.apply_mesh(changes),
                    Err(error) => warn!(%error, "the mesh stays what it was"),
                },
                changes = next_pods(&mut self.pods_file) => match changes {
                    Ok(changes) => self.pods.apply(changes),
                    Err(error) => warn!(%error, "the pods stay what they were"),
                },
                () = until(wake) => {}
            }
        }
    }

    /// Brings the data plane to what is known now.
    async fn settle(&mut self, plane: &impl DataPlane, readiness: &Readiness) {
        self.pods.remove_gone(plane).await;
        self.issue_due();
        if std::mem::take(&mut self.changed) {
            plane.publish(self.snapshot());
        }
        readiness.set(Task::StateManager, true);
        self.pods.add_missing(plane).await;
        readiness.set(Task::WorkloadProxyManager, !self.pods.pending());
    }

    fn apply_mesh(&mut self, changes: Vec<engine::mesh::Change>) {
        info!(changes = changes.len(), "the mesh was read again");
        self.changed |= !changes.is_empty();
        for change in changes {
            self.snapshot.apply(change);
        }
    }

    /// Issues the certificates whose time has come, and forgets those that no pod needs any more.
    fn issue_due(&mut self) {
        let now = Instant::now();
        let wanted: BTreeSet<Identity> = self.pods.wanted().map(|pod| self.identity_of(pod)).collect();
        for identity in self.renewals.want(&wanted, now) {
            self.complaints.remove(&identity);
            self.changed |= self.snapshot.remove_credentials(&Holder::all_of(identity));
        }
        for identity in self.renewals.due(now) {
            match self.authority.issue(&identity, self.certificate_ttl) {
                Ok(credentials) => {
                    let left = credentials.not_after.duration_since(SystemTime::now()).unwrap_or_default();
                    info!(identity = %identity, seconds = left.as_secs(), "certificate issued");
                    self.renewals.issued(&identity, left, now, entropy());
                    self.complaints.remove(&identity);
                    self.snapshot.upsert_credentials(Holder::all_of(identity), Arc::new(credentials));
                    self.changed = true;
                }
                Err(error) => {
                    self.renewals.failed(&identity, now, entropy());
                    self.complain(identity, error.to_string());
                }
            }
        }
    }

    fn complain(&mut self, identity: Identity, error: String) {
        if self.complaints.get(&identity) != Some(&error) {
            warn!(identity = %identity, error, "no certificate issued; the last one is used until it expires");
            self.complaints.insert(identity, error);
        }
    }

    /// What a pod proves: as the mesh describes it, or by its names where the mesh does not know it yet.
    fn identity_of(&self, pod: &NodePod) -> Identity {
        let (name, namespace, account) = pod.names();
        match self.snapshot.workload_of_pod(name, namespace, account) {
            Some(workload) => workload.identity.clone(),
            None => self.snapshot.settings().identity("", namespace, account),
        }
    }

    /// When there is something to do even if no file changes.
    fn next_wake(&self) -> Option<Instant> {
        let retry = self.pods.pending().then(|| Instant::now() + Duration::from_secs(POD_RETRY_SECONDS));
        [retry, self.renewals.next()].into_iter().flatten().min()
    }
}

async fn next_pods(file: &mut Option<PodsFile>) -> Result<PodChanges, LocalError> {
    match file {
        Some(file) => file.changes().await,
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Different each time: enough to spread renewals, and nothing else.
fn entropy() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests;
