//! Which processes a pod runs, asked of the container runtime.
//!
//! The number is passed on and never used here: it is a process of the host, and we may live in a PID namespace of our
//! own. So the end of a process cannot be watched; it is asked again instead.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::cri::runtime_service_client::RuntimeServiceClient;
use proto::cri::{
    ContainerFilter, ContainerStatusRequest, ListContainersRequest, ListPodSandboxRequest, PodSandboxFilter,
};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status as Refusal};

use super::refusal;
use crate::status::{Plane, Status};

/// Pods whose processes are asked for at the same time: a runtime has other work to do.
const LOOKUPS_MAX: usize = 16;

/// The largest answer that is read: the state of one container, or the list of a pod's, is some tens of kilobytes.
const RUNTIME_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The label by which the kubelet marks the sandbox of a pod.
const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// The key of a container's inner state in a verbose answer.
const INFO: &str = "info";

/// Speaks to the container runtime. Clones share the connection.
#[derive(Clone)]
pub(super) struct Runtime {
    client: RuntimeServiceClient<Channel>,
    lookups: Arc<Semaphore>,
    timeout: Duration,
    socket: Arc<str>,
    status: Status,
}

/// The part of a container's inner state that is of use; 0 or nothing while it does not run.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    pid: i32,
}

// === impl Runtime ===

impl Runtime {
    pub(super) fn new(channel: Channel, socket: &Path, timeout: Duration, status: Status) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let socket = socket.display().to_string().into();
        let client = RuntimeServiceClient::new(channel).max_decoding_message_size(RUNTIME_MESSAGE_BYTES_MAX);
        Self { client, lookups, timeout, socket, status }
    }

    /// The first process of each running container of a pod; none before its first container has started.
    pub(super) async fn processes(&self, uid: &str) -> Result<BTreeSet<i32>, String> {
        let _turn = self.lookups.acquire().await.expect("invariant: the semaphore is never closed");
        let found = match timeout(self.timeout, self.look_up(uid)).await {
            Ok(found) => found.map_err(|status| refusal::of_runtime(&status, &self.socket)),
            Err(_) => Err(refusal::silent_runtime(&self.socket, self.timeout)),
        };
        match &found {
            Ok(_) => self.reached(),
            Err(cause) => self.status.disconnected(Plane::ContainerRuntime, &self.socket, cause.clone()),
        }
        found
    }

    async fn look_up(&self, uid: &str) -> Result<BTreeSet<i32>, Refusal> {
        let mut client = self.client.clone();
        let mut processes = BTreeSet::new();
        for sandbox in client.list_pod_sandbox(sandboxes_of(uid)).await?.into_inner().items {
            for container in client.list_containers(containers_of(sandbox.id)).await?.into_inner().containers
            {
                let request = ContainerStatusRequest { container_id: container.id, verbose: true };
                let info = match client.container_status(request).await {
                    Ok(answer) => answer.into_inner().info,
                    // It was removed since it was listed.
                    Err(status) if status.code() == Code::NotFound => continue,
                    Err(status) => return Err(status),
                };
                processes.extend(process(&info));
            }
        }
        Ok(processes)
    }

    fn reached(&self) {
        let known = |status: &crate::status::PlaneStatus| status.connected && status.error.is_none();
        if !self.status.read(|state| state.planes.get(&Plane::ContainerRuntime).is_some_and(known)) {
            self.status.connected(Plane::ContainerRuntime, &self.socket);
        }
    }
}

fn sandboxes_of(uid: &str) -> ListPodSandboxRequest {
    let label_selector = HashMap::from([(UID_LABEL.to_owned(), uid.to_owned())]);
    ListPodSandboxRequest { filter: Some(PodSandboxFilter { label_selector, ..Default::default() }) }
}

fn containers_of(pod_sandbox_id: String) -> ListContainersRequest {
    ListContainersRequest { filter: Some(ContainerFilter { pod_sandbox_id, ..Default::default() }) }
}

fn process(info: &HashMap<String, String>) -> Option<i32> {
    let info: Info = serde_json::from_str(info.get(INFO)?).ok()?;
    (info.pid > 0).then_some(info.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_a_container_that_runs() {
        for (text, pid) in [
            (r#"{"pid": 4711, "sandboxID": "x"}"#, Some(4711)),
            (r#"{"pid": 0}"#, None),
            (r#"{"pid": -1}"#, None),
            ("{}", None),
            ("no json", None),
        ] {
            let info = HashMap::from([(INFO.to_owned(), text.to_owned())]);
            assert_eq!(process(&info), pid, "{text}");
        }
        assert_eq!(process(&HashMap::new()), None);
    }
}
