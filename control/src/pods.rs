//! The pods of this node: those that should be carried, and those that are.
//!
//! What should be comes from a file, from a node agent or from dedicated mode; what is outlives the control thread, so
//! that one that was restarted still removes what went away meanwhile. The reconciler makes the second like the first.
//! A pod that cannot be added is tried again until it can, is complained about once, and keeps the proxy from being
//! ready.

mod looks;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::engine::Pod;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::looks::Looks;
use crate::aside::aside;
use crate::environment::WorkloadName;
use crate::local::{LocalError, LocalPod, PodChanges, PodsFile};
use crate::plane::DataPlane;
use crate::status::{PodStatus, Status};
use crate::succession::Succession;
use crate::zds::{AnnouncedPod, PodChange};

/// How long a pod waits that could not be added: its namespace may appear, its ports become free.
const POD_RETRY_SECONDS: u64 = 5;

/// A pod, and where its network namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodePod {
    Listed(LocalPod),
    /// By an agent, which sent its namespace along.
    Announced(AnnouncedPod),
    /// The only one of dedicated mode, whose namespace is ours.
    Own(WorkloadName),
}

/// The pods that the data plane has. Shared between the runs of the control thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<Carried>>);

#[derive(Debug, Default)]
struct Carried {
    pods: BTreeMap<Arc<str>, NodePod>,
    /// Those that are being added or removed. Nobody but a run that panicked leaves one behind, and then the data plane
    /// may have all of it, or a part.
    unsettled: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Pods {
    wanted: BTreeMap<Arc<str>, NodePod>,
    running: Running,
    /// Where it is told what became of each pod.
    status: Status,
    /// The pods that could not be added.
    failed: BTreeMap<Arc<str>, Failure>,
    /// When it is looked whether another proxy serves them as well.
    looks: Looks,
    /// All pods of the node have been named.
    complete: bool,
}

/// What was last said about a pod that cannot be added, and when it is tried again.
#[derive(Debug)]
struct Failure {
    error: String,
    again: Instant,
}

impl Pods {
    pub(crate) fn new(running: Running, status: Status, succession: Succession) -> Self {
        let mut looks = Looks::new(succession);
        // Those of an earlier run, which may not have looked at all of them.
        running.lock().pods.keys().for_each(|uid| looks.plan(uid));
        Self { wanted: BTreeMap::new(), running, status, failed: BTreeMap::new(), looks, complete: true }
    }

    /// Pods come from an agent: until it has named them all, those that run are wanted.
    pub(crate) fn follow_agent(&mut self) {
        self.wanted = self.running.lock().pods.clone();
        self.complete = false;
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
            self.want(NodePod::Listed(pod));
        }
    }

    /// Takes over what the agent of the node says.
    pub(crate) fn take(&mut self, change: PodChange) {
        match change {
            PodChange::Come(pod) => self.want(NodePod::Announced(pod)),
            PodChange::Gone(uid) => _ = self.wanted.remove(&uid),
            PodChange::All(named) => {
                self.wanted.retain(|uid, _| named.contains(uid));
                self.complete = true;
            }
            PodChange::Lost => self.complete = false,
        }
    }

    /// A pod that is wanted already stays what it was; a new or another one is tried at once.
    fn want(&mut self, pod: NodePod) {
        let uid = pod.uid();
        if self.wanted.get(&uid) != Some(&pod) {
            self.failed.remove(&uid);
            self.wanted.insert(uid, pod);
        }
    }

    pub(crate) fn wanted(&self) -> impl Iterator<Item = &NodePod> {
        self.wanted.values()
    }

    /// Every pod of the node is known and carried.
    pub(crate) fn all_carried(&self) -> bool {
        let running = self.running.lock();
        self.complete && self.wanted.keys().all(|uid| running.pods.contains_key(uid))
    }

    /// When a pod that could not be added is to be tried again, or looked at.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.failed.values().map(|failure| failure.again).chain(self.looks.next()).min()
    }

    /// Removes from the data plane what should not be there: what is gone, and what has changed.
    pub(crate) async fn remove_gone(&mut self, plane: &impl DataPlane) {
        self.failed.retain(|uid, _| self.wanted.contains_key(uid));
        self.status.update(|state| {
            state.pods.retain(|uid, pod| pod.pending.is_none() || self.wanted.contains_key(uid))
        });
        let gone: BTreeSet<Arc<str>> = {
            let running = self.running.lock();
            let gone = running.pods.iter().filter(|(uid, pod)| self.wanted.get(*uid) != Some(*pod));
            gone.map(|(uid, _)| uid).chain(&running.unsettled).cloned().collect()
        };
        for uid in gone {
            self.looks.forget(&uid);
            let ran = self.running.lock().unsettle(&uid);
            self.status.update(|state| {
                state.pods.remove(&uid);
                state.pods_stopped += u64::from(ran);
            });
            match plane.remove_pod(&uid).await {
                Ok(()) => info!(uid = &*uid, "pod removed"),
                Err(error) => warn!(uid = &*uid, %error, "pod not removed cleanly"),
            }
            self.running.lock().unsettled.remove(&uid);
        }
    }

    /// Adds what is not in the data plane yet; what could not be added, when its time has come.
    pub(crate) async fn add_missing(&mut self, plane: &impl DataPlane) {
        let now = Instant::now();
        let waits = |uid: &Arc<str>| self.failed.get(uid).is_some_and(|failure| failure.again > now);
        let missing: Vec<NodePod> = {
            let running = self.running.lock();
            let missing =
                self.wanted.iter().filter(|(uid, _)| !running.pods.contains_key(*uid) && !waits(uid));
            missing.map(|(_, pod)| pod.clone()).collect()
        };
        for pod in missing {
            let uid = pod.uid();
            self.running.lock().unsettle(&uid);
            let added = add(&pod, plane).await;
            self.running.lock().unsettled.remove(&uid);
            match added {
                Ok(()) => {
                    info!(uid = &*uid, pod = %pod.label(), "pod added");
                    self.failed.remove(&uid);
                    self.status.update(|state| {
                        state.pods.insert(Arc::clone(&uid), pod.status(None));
                        state.pods_started += 1;
                    });
                    self.looks.plan(&uid);
                    self.running.lock().pods.insert(uid, pod);
                }
                Err(error) => self.complain(&pod, error),
            }
        }
    }

    /// Looks at pods whose turn it is, on a thread of its own: tables of the kernel are read for that.
    pub(crate) async fn look_for_others(&mut self) {
        let mut namespaces = Vec::new();
        for uid in self.looks.take_due(Instant::now()) {
            match self.wanted.get(&uid).map(NodePod::open) {
                Some(Ok(Pod { netns: Some(netns), .. })) => namespaces.push((uid, netns)),
                // What has happened to it is told by whoever serves it.
                Some(Err(cause)) => debug!(uid = &*uid, cause, "not looked for another proxy"),
                // That of dedicated mode is seen by the ports that are asked.
                Some(Ok(_)) | None => self.looks.forget(&uid),
            }
        }
        if namespaces.is_empty() {
            return;
        }
        let found = aside("sharing", move || sharing::look(namespaces)).await;
        // One that came meanwhile to replace this one is no stranger.
        if !self.looks.is_alone() {
            return;
        }
        match found {
            Ok(Ok(found)) => found.into_iter().for_each(|(uid, shared)| self.conclude(&uid, shared)),
            Ok(Err(cause)) => debug!(%cause, "not looked for another proxy"),
            Err(cause) => debug!(%cause, "not looked for another proxy"),
        }
    }

    /// What could not be seen stays what it was, and is looked at again.
    fn conclude(&mut self, uid: &Arc<str>, shared: io::Result<bool>) {
        let shared = match shared {
            Ok(shared) => shared,
            Err(cause) => return debug!(uid = &**uid, %cause, "not looked for another proxy"),
        };
        if !shared {
            self.looks.forget(uid);
        }
        let mut was = shared;
        self.status.update(|state| {
            if let Some(pod) = state.pods.get_mut(uid) {
                was = std::mem::replace(&mut pod.shared, shared);
            }
        });
        if was == shared {
            return;
        }
        if !shared {
            info!(uid = &**uid, "no other proxy serves this pod any more");
            return;
        }
        let pod = self.wanted.get(uid).map(NodePod::label);
        warn!(
            uid = &**uid,
            pod,
            "another proxy serves this pod as well: each takes some of its connections, with its own mesh and certificates; \
             end one of the two, or let only one have the pod in its pods file"
        );
    }

    fn complain(&mut self, pod: &NodePod, error: String) {
        let uid = pod.uid();
        let again = Instant::now() + Duration::from_secs(POD_RETRY_SECONDS);
        let last = self.failed.insert(Arc::clone(&uid), Failure { error: error.clone(), again });
        if last.is_some_and(|last| last.error == error) {
            return;
        }
        warn!(uid = &*uid, error, "pod not added; trying again every {POD_RETRY_SECONDS} s");
        let status = pod.status(Some(error));
        self.status.update(|state| _ = state.pods.insert(uid, status));
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
    fn lock(&self) -> MutexGuard<'_, Carried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Carried ===

impl Carried {
    /// What becomes of it now is known when it has been done. Says whether it was carried.
    fn unsettle(&mut self, uid: &Arc<str>) -> bool {
        self.unsettled.insert(Arc::clone(uid));
        self.pods.remove(uid).is_some()
    }
}

// === impl NodePod ===

impl NodePod {
    pub(crate) fn uid(&self) -> Arc<str> {
        match self {
            Self::Listed(pod) => Arc::clone(&pod.uid),
            Self::Announced(pod) => Arc::clone(&pod.uid),
            // There is no other pod that it could be mistaken for.
            Self::Own(workload) => Arc::from(format!("{}/{}", workload.namespace, workload.name)),
        }
    }

    /// Name, namespace and service account: what the mesh knows a pod by.
    pub(crate) fn names(&self) -> (&str, &str, &str) {
        match self {
            Self::Listed(pod) => (&pod.name, &pod.namespace, &pod.service_account),
            Self::Announced(pod) => (&pod.name, &pod.namespace, &pod.service_account),
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
            shared: false,
        }
    }

    fn open(&self) -> Result<Pod, String> {
        match self {
            Self::Listed(pod) => pod.open().map_err(|error| error.to_string()),
            Self::Announced(pod) => pod.open(),
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

#[cfg(test)]
mod tests;
