#![allow(clippy::unwrap_used)]

use std::pin::Pin;

use engine::mesh::{Change, MeshSettings};
use prost::Message;
use proto::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use proto::type_url;
use proto::workload::{Address, Workload, address};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status as CallStatus, Streaming};

use super::*;
use crate::environment::{ChannelSettings, Endpoint, NodeSettings, Root};
use crate::status::Plane;

/// A stream that a client opened: what it says, and where it is answered.
struct Opened {
    requests: Streaming<DeltaDiscoveryRequest>,
    answers: mpsc::Sender<Result<DeltaDiscoveryResponse, CallStatus>>,
}

struct Service(mpsc::Sender<Opened>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, CallStatus>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, CallStatus> {
        let (answers, stream) = mpsc::channel(16);
        self.0.send(Opened { requests: request.into_inner(), answers }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Lab {
    _directory: TempDir,
    streams: mpsc::Receiver<Opened>,
    updates: mpsc::Receiver<MeshUpdate>,
    reopen: watch::Sender<()>,
    status: Status,
}

impl Lab {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("xds.sock");
        let (sender, streams) = mpsc::channel(16);
        let service = AggregatedDiscoveryServiceServer::new(Service(sender));
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
        let channel = ChannelSettings {
            endpoint: Endpoint::Unix(socket),
            root: Root::Pem(String::new()),
            alternative_name: None,
            token: None,
            headers: Vec::new(),
        };
        let node = NodeSettings {
            instance_ip: None,
            pod_name: String::new(),
            pod_namespace: String::new(),
            node_name: String::new(),
            metadata: serde_json::Map::new(),
        };
        let (status, (reopen, told)) = (Status::default(), watch::channel(()));
        let snapshot = Snapshot::new(MeshSettings::default());
        let (client, updates) = client(&XdsSettings { channel, node }, &snapshot, status.clone()).unwrap();
        let running: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(client.run(told));
        tokio::spawn(running);
        Self { _directory: directory, streams, updates, reopen, status }
    }

    async fn opened(&mut self) -> Opened {
        self.streams.recv().await.unwrap()
    }

    fn ended(&self, reason: &str) -> u64 {
        self.status.read(|state| state.xds_terminations.get(reason).copied().unwrap_or_default())
    }
}

impl Opened {
    async fn request(&mut self) -> DeltaDiscoveryRequest {
        self.requests.message().await.unwrap().unwrap()
    }

    async fn answer(&self, type_url: &str, nonce: &str, resources: Vec<Resource>) {
        let response = DeltaDiscoveryResponse {
            resources,
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            ..Default::default()
        };
        self.answers.send(Ok(response)).await.unwrap();
    }
}

fn pod(number: usize) -> Resource {
    let workload =
        Workload { uid: format!("uid-{number}"), addresses: vec![vec![10, 0, 0, 1]], ..Workload::default() };
    let value = Address { r#type: Some(address::Type::Workload(workload)) }.encode_to_vec();
    let resource = Some(prost_types::Any { type_url: type_url::ADDRESS.to_owned(), value });
    Resource { name: format!("uid-{number}"), resource, ..Resource::default() }
}

#[tokio::test]
async fn a_stream_is_asked_answered_and_acknowledged() {
    let mut lab = Lab::new();
    let mut stream = lab.opened().await;
    assert_eq!(stream.request().await.type_url, type_url::ADDRESS);
    assert_eq!(stream.request().await.type_url, type_url::AUTHORIZATION);

    stream.answer(type_url::ADDRESS, "one", vec![pod(1)]).await;
    let update = lab.updates.recv().await.unwrap();
    assert_eq!((update.changes.len(), update.more, update.synced), (1, false, false));
    let answer = stream.request().await;
    assert_eq!((&*answer.response_nonce, answer.error_detail, answer.node), ("one", None, None));

    stream.answer(type_url::AUTHORIZATION, "0", Vec::new()).await;
    assert!(lab.updates.recv().await.unwrap().synced);
    assert_eq!(stream.request().await.response_nonce, "0");
    stream.answer("type.googleapis.com/unknown", "two", Vec::new()).await;
    let refusal = stream.request().await;
    assert!(refusal.error_detail.unwrap().message.contains("was not asked for"));
    lab.status.read(|state| {
        assert_eq!(state.xds_messages[type_url::ADDRESS].0, 1);
        assert_eq!(state.xds_messages.len(), 2, "nobody else's types are counted");
        assert!(state.planes[&Plane::Xds].connected);
    });
}

#[tokio::test]
async fn a_server_that_has_not_answered_is_told_of() {
    let mut lab = Lab::new();
    let told =
        || lab.status.read(|state| state.planes.get(&Plane::Xds).and_then(|plane| plane.error.clone()));
    while told().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(told().as_deref(), Some("connecting"));
    let _stream = lab.opened().await;
    while !lab.status.read(|state| state.planes[&Plane::Xds].connected) {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.status.read(|state| state.planes[&Plane::Xds].error.clone()), None);
}

#[tokio::test]
async fn a_large_response_comes_in_parts_and_the_last_one_says_so() {
    let mut lab = Lab::new();
    let mut stream = lab.opened().await;
    for _ in 0..2 {
        stream.request().await;
    }
    stream.answer(type_url::ADDRESS, "one", (0..2_000).map(pod).collect()).await;
    let (mut changes, mut parts) = (0, 0);
    loop {
        let update = lab.updates.recv().await.unwrap();
        assert!(update.changes.iter().all(|change| matches!(change, Change::UpsertWorkload(_))));
        changes += update.changes.len();
        parts += 1;
        if !update.more {
            break;
        }
    }
    assert_eq!(changes, 2_000);
    assert!(parts > 3, "{parts}");
    assert_eq!(stream.request().await.response_nonce, "one");
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again() {
    let mut lab = Lab::new();
    let stream = lab.opened().await;
    stream.answers.send(Err(CallStatus::internal("broken"))).await.unwrap();
    drop(lab.opened().await);
    let mut third = lab.opened().await;
    assert_eq!(third.request().await.type_url, type_url::ADDRESS);
    assert_eq!((lab.ended("Error"), lab.ended("Complete")), (1, 1));
}

#[tokio::test]
async fn a_word_opens_the_stream_anew_once_the_old_one_is_closed() {
    let mut lab = Lab::new();
    let mut first = lab.opened().await;
    for _ in 0..2 {
        first.request().await;
    }
    first.answer(type_url::ADDRESS, "one", vec![pod(1)]).await;
    lab.updates.recv().await.unwrap();
    assert_eq!(first.request().await.response_nonce, "one");
    lab.reopen.send_replace(());
    // We have said our last, and listen until the server has.
    assert!(first.requests.message().await.unwrap().is_none(), "ended, and not cut");
    first.answer(type_url::ADDRESS, "last", vec![pod(2)]).await;
    drop(first);
    assert_eq!(lab.updates.recv().await.unwrap().changes.len(), 1);
    let mut second = lab.opened().await;
    let again = second.request().await;
    let mut known: Vec<String> = again.initial_resource_versions.into_keys().collect();
    known.sort_unstable();
    assert_eq!(known, ["uid-1", "uid-2"]);
    assert_eq!(lab.ended("Reconnect"), 1);
    assert!(lab.streams.try_recv().is_err(), "once for each word");
}
