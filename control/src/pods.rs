//! The pods of this node: those that should be carried, and those that are.
//!
//! What should be comes from a file or from dedicated mode; what is outlives the control thread, so that one that was
//! restarted still removes what went away meanwhile. `settle` makes the second like the first. A pod that cannot be
//! added is tried again until it can, is complained about once, and keeps the proxy from being ready.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::engine::Pod;
use thiserror::Error;
use tokio::runtime::Builder;
use tracing::{info, warn};

use crate::environment::WorkloadName;
use crate::local::{LocalError, LocalPod, PodChanges, PodsFile};
use crate::plane::DataPlane;
use crate::status::{PodStatus, Status};

/// How long a pod waits that could not be added: its namespace may appear, its ports become free.
pub(crate) const POD_RETRY_SECONDS: u64 = 5;

/// A pod, and where its network namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodePod {
    Listed(LocalPod),
    /// The only one of dedicated mode, whose namespace is ours.
    Own(WorkloadName),
}

/// The pods that the data plane has. Shared between the runs of the control thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<BTreeMap<Arc<str>, NodePod>>>);

#[derive(Debug)]
pub(crate) struct Pods {
    wanted: BTreeMap<Arc<str>, NodePod>,
    running: Running,
    /// Where it is told what became of each pod.
    status: Status,
    /// What was last said about a pod that cannot be added.
    complaints: BTreeMap<Arc<str>, String>,
}

impl Pods {
    pub(crate) fn new(running: Running, status: Status) -> Self {
        Self { wanted: BTreeMap::new(), running, status, complaints: BTreeMap::new() }
    }

    /// The pod of dedicated mode.
    pub(crate) fn want_own(&mut self, workload: WorkloadName) {
        let pod = NodePod::Own(workload);
        self.wanted.insert(pod.uid(), pod);
    }

    /// Takes over what a new version of the pods file says.
    pub(crate) fn apply(&mut self, changes: PodChanges) {
        for pod in changes.gone {
            self.wanted.remove(&pod.uid);
        }
        for pod in changes.come {
            self.wanted.insert(Arc::clone(&pod.uid), NodePod::Listed(pod));
        }
    }

    pub(crate) fn wanted(&self) -> impl Iterator<Item = &NodePod> {
        self.wanted.values()
    }

    /// Whether pods are still to be added.
    pub(crate) fn pending(&self) -> bool {
        let running = self.running.lock();
        self.wanted.keys().any(|uid| !running.contains_key(uid))
    }

    /// Removes from the data plane what should not be there: what is gone, and what has changed.
    pub(crate) async fn remove_gone(&mut self, plane: &impl DataPlane) {
        self.complaints.retain(|uid, _| self.wanted.contains_key(uid));
        self.status.update(|state| {
            state.pods.retain(|uid, pod| pod.pending.is_none() || self.wanted.contains_key(uid))
        });
        let gone: Vec<NodePod> = {
            let running = self.running.lock();
            let gone = running.iter().filter(|(uid, pod)| self.wanted.get(*uid) != Some(*pod));
            gone.map(|(_, pod)| pod.clone()).collect()
        };
        for pod in gone {
            let uid = pod.uid();
            match plane.remove_pod(&uid).await {
                Ok(()) => info!(uid = &*uid, "pod removed"),
                Err(error) => warn!(uid = &*uid, %error, "pod not removed cleanly"),
            }
            self.running.lock().remove(&uid);
            self.status.update(|state| {
                state.pods.remove(&uid);
                state.pods_stopped += 1;
            });
        }
    }

    /// Adds what is not in the data plane yet.
    pub(crate) async fn add_missing(&mut self, plane: &impl DataPlane) {
        let missing: Vec<NodePod> = {
            let running = self.running.lock();
            let missing = self.wanted.iter().filter(|(uid, _)| !running.contains_key(*uid));
            missing.map(|(_, pod)| pod.clone()).collect()
        };
        for pod in missing {
            let uid = pod.uid();
            match add(&pod, plane).await {
                Ok(()) => {
                    info!(uid = &*uid, pod = %pod.label(), "pod added");
                    self.complaints.remove(&uid);
                    self.status.update(|state| {
                        state.pods.insert(Arc::clone(&uid), pod.status(None));
                        state.pods_started += 1;
                    });
                    self.running.lock().insert(uid, pod);
                }
                Err(error) => self.complain(&pod, error),
            }
        }
    }

    fn complain(&mut self, pod: &NodePod, error: String) {
        let uid = pod.uid();
        if self.complaints.get(&uid) == Some(&error) {
            return;
        }
        warn!(uid = &*uid, error, "pod not added; trying again every {POD_RETRY_SECONDS} s");
        let status = pod.status(Some(error.clone()));
        self.status.update(|state| _ = state.pods.insert(Arc::clone(&uid), status));
        self.complaints.insert(uid, error);
    }
}

/// The pods that a pods file lists now, for commands that act on them once.
pub fn listed(path: &Path) -> Result<Vec<LocalPod>, ListError> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(PodsFile::new(path).changes())?.come)
}

#[derive(Debug, Error)]
pub enum ListError {
    #[error(transparent)]
    File(#[from] LocalError),
    #[error("no runtime to read the pods file with: {0}")]
    Runtime(#[from] io::Error),
}

async fn add(pod: &NodePod, plane: &impl DataPlane) -> Result<(), String> {
    let pod = pod.open()?;
    plane.add_pod(pod).await.map_err(|error| error.to_string())
}

// === impl Running ===

impl Running {
    /// Every change to the map is a single call: it is whole even after a panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, NodePod>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl NodePod ===

impl NodePod {
    pub(crate) fn uid(&self) -> Arc<str> {
        match self {
            Self::Listed(pod) => Arc::clone(&pod.uid),
            // There is no other pod that it could be mistaken for.
            Self::Own(workload) => Arc::from(format!("{}/{}", workload.namespace, workload.name)),
        }
    }

    /// Name, namespace and service account: what the mesh knows a pod by.
    pub(crate) fn names(&self) -> (&str, &str, &str) {
        match self {
            Self::Listed(pod) => (&pod.name, &pod.namespace, &pod.service_account),
            Self::Own(workload) => (&workload.name, &workload.namespace, &workload.service_account),
        }
    }

    fn label(&self) -> String {
        let (name, namespace, _) = self.names();
        format!("{namespace}/{name}")
    }

    fn status(&self, pending: Option<String>) -> PodStatus {
        let (name, namespace, service_account) = self.names();
        PodStatus {
            name: name.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
            pending,
        }
    }

    fn open(&self) -> Result<Pod, String> {
        match self {
            Self::Listed(pod) => pod.open().map_err(|error| error.to_string()),
            Self::Own(_) => {
                let (name, namespace, service_account) = self.names();
                Ok(Pod {
                    uid: self.uid(),
                    name: name.into(),
                    namespace: namespace.into(),
                    service_account: service_account.into(),
                    netns: None,
                })
            }
        }
    }
}
