//! An agent whose every stream is in the hands of the test, and a container runtime that tells what the test wrote
//! down; both in memory.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use proto::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use proto::cri::{
    Container, ContainerStatusRequest, ContainerStatusResponse, ListContainersRequest,
    ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox,
};
use proto::spire::delegated_identity_server::{DelegatedIdentity, DelegatedIdentityServer};
use proto::spire::{
    SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse, SubscribeToX509sviDsRequest,
    SubscribeToX509sviDsResponse,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};
use tower::service_fn;

type Incoming = UnboundedReceiverStream<io::Result<DuplexStream>>;

/// A stream that somebody opened: what was asked, and the way to answer.
pub(super) struct Call<Asked, Answer> {
    pub(super) asked: Asked,
    pub(super) answers: UnboundedSender<Result<Answer, Status>>,
}

pub(super) type SvidCall = Call<SubscribeToX509sviDsRequest, SubscribeToX509sviDsResponse>;
pub(super) type BundleCall = Call<SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse>;

struct Hands {
    svids: UnboundedSender<SvidCall>,
    bundles: UnboundedSender<BundleCall>,
}

/// The agent's end of the streams that are open.
pub(super) struct Opened {
    pub(super) svids: UnboundedReceiver<SvidCall>,
    pub(super) bundles: UnboundedReceiver<BundleCall>,
}

/// A channel to an agent.
pub(super) fn agent() -> (Channel, Opened) {
    let (svids, opened_svids) = unbounded_channel();
    let (bundles, opened_bundles) = unbounded_channel();
    let service = DelegatedIdentityServer::new(Hands { svids, bundles });
    let channel = connect(|incoming| Server::builder().serve_with_incoming(service, incoming));
    (channel, Opened { svids: opened_svids, bundles: opened_bundles })
}

impl Hands {
    fn hand<Asked, Answer>(
        to: &UnboundedSender<Call<Asked, Answer>>,
        asked: Asked,
    ) -> UnboundedReceiverStream<Result<Answer, Status>> {
        let (answers, stream) = unbounded_channel();
        let _ = to.send(Call { asked, answers });
        UnboundedReceiverStream::new(stream)
    }
}

#[tonic::async_trait]
impl DelegatedIdentity for Hands {
    type SubscribeToX509SVIDsStream = UnboundedReceiverStream<Result<SubscribeToX509sviDsResponse, Status>>;
    type SubscribeToX509BundlesStream =
        UnboundedReceiverStream<Result<SubscribeToX509BundlesResponse, Status>>;

    async fn subscribe_to_x509svi_ds(
        &self,
        request: Request<SubscribeToX509sviDsRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDsStream>, Status> {
        Ok(Response::new(Self::hand(&self.svids, request.into_inner())))
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        Ok(Response::new(Self::hand(&self.bundles, request.into_inner())))
    }
}

/// The processes of the containers of each pod, by its uid; 0 for a container that does not run.
#[derive(Clone, Default)]
pub(super) struct Pods(Arc<Mutex<BTreeMap<String, Vec<i32>>>>);

impl Pods {
    pub(super) fn run(&self, uid: &str, processes: &[i32]) {
        self.0.lock().unwrap().insert(uid.to_owned(), processes.to_vec());
    }

    fn of(&self, uid: &str) -> Vec<i32> {
        self.0.lock().unwrap().get(uid).cloned().unwrap_or_default()
    }
}

/// A channel to a container runtime.
pub(super) fn runtime(pods: &Pods) -> Channel {
    let service = RuntimeServiceServer::new(pods.clone());
    connect(|incoming| Server::builder().serve_with_incoming(service, incoming))
}

#[tonic::async_trait]
impl RuntimeService for Pods {
    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let labels = request.into_inner().filter.unwrap().label_selector;
        let id = labels["io.kubernetes.pod.uid"].clone();
        let items = if self.of(&id).is_empty() { Vec::new() } else { vec![PodSandbox { id }] };
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let pod = request.into_inner().filter.unwrap().pod_sandbox_id;
        let container = |at| Container { id: format!("{pod}/{at}"), pod_sandbox_id: pod.clone() };
        let containers = (0..self.of(&pod).len()).map(container).collect();
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let request = request.into_inner();
        let (pod, at) = request.container_id.split_once('/').unwrap();
        let pid = self.of(pod)[at.parse::<usize>().unwrap()];
        let info = HashMap::from([("info".to_owned(), format!("{{\"pid\": {pid}}}"))]);
        Ok(Response::new(ContainerStatusResponse {
            info: if request.verbose { info } else { HashMap::new() },
        }))
    }
}

/// A channel to whoever serves the connections that come in, in memory.
fn connect<Served>(serve: impl FnOnce(Incoming) -> Served) -> Channel
where
    Served: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
{
    let (accept, accepted) = unbounded_channel();
    tokio::spawn(serve(UnboundedReceiverStream::new(accepted)));
    let connector = service_fn(move |_: Uri| {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let accepted = accept.send(Ok(theirs)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused));
        async move { accepted.map(|()| TokioIo::new(ours)) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
}
