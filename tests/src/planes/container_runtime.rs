//! A container runtime: it tells which processes a pod runs, as a test says.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use proto::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use proto::cri::{
    Container, ContainerStatusRequest, ContainerStatusResponse, ListContainersRequest,
    ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox,
};
use tonic::{Request, Response, Status};

use super::grpc::{Serving, socket};

/// The label by which the kubelet marks the sandbox of a pod.
const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// A running container runtime.
#[derive(Debug)]
pub struct ContainerRuntime {
    pods: Pods,
    socket: PathBuf,
    serving: Option<Serving>,
}

/// The processes of each pod's containers, by the pod's uid; `None` for a container that has not started.
#[derive(Clone, Debug, Default)]
struct Pods(Arc<Mutex<BTreeMap<String, Vec<Option<u32>>>>>);

impl ContainerRuntime {
    /// One without pods.
    pub fn start() -> Result<Self> {
        let mut runtime = Self { pods: Pods::default(), socket: socket("cri")?, serving: None };
        runtime.restart()?;
        Ok(runtime)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A pod has these containers from now on, and a sandbox for them.
    pub fn run(&self, uid: &str, containers: &[Option<u32>]) {
        self.pods.lock().insert(uid.to_owned(), containers.to_vec());
    }

    /// It is gone, until it is started again.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.serving = Some(Serving::start(&self.socket, RuntimeServiceServer::new(self.pods.clone()))?);
        Ok(())
    }
}

impl Pods {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Option<u32>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl RuntimeService for Pods {
    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let mut labels = request.into_inner().filter.unwrap_or_default().label_selector;
        let uid = labels.remove(UID_LABEL).ok_or_else(|| Status::invalid_argument("no uid is asked for"))?;
        let items = self.lock().contains_key(&uid).then_some(PodSandbox { id: uid });
        Ok(Response::new(ListPodSandboxResponse { items: items.into_iter().collect() }))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let pod_sandbox_id = request.into_inner().filter.unwrap_or_default().pod_sandbox_id;
        let count = self.lock().get(&pod_sandbox_id).map_or(0, Vec::len);
        let container =
            |at| Container { id: format!("{pod_sandbox_id}/{at}"), pod_sandbox_id: pod_sandbox_id.clone() };
        Ok(Response::new(ListContainersResponse { containers: (0..count).map(container).collect() }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let request = request.into_inner();
        let unknown = || Status::not_found(request.container_id.clone());
        let (uid, at) = request.container_id.rsplit_once('/').ok_or_else(unknown)?;
        let at: usize = at.parse().map_err(|_| unknown())?;
        let process = *self.lock().get(uid).and_then(|containers| containers.get(at)).ok_or_else(unknown)?;
        let mut info = HashMap::new();
        if request.verbose {
            let pid = process.unwrap_or(0);
            info.insert("info".to_owned(), format!(r#"{{"sandboxID":"{uid}","pid":{pid},"config":{{}}}}"#));
        }
        Ok(Response::new(ContainerStatusResponse { info }))
    }
}
