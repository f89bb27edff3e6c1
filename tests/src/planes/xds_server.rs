//! The xDS server and the certificate authority inside Cilium's agent, in the hands of a test.
//!
//! It behaves as the real one (contract 2.4, 2.10): no versions, no word of what was removed while nobody listened,
//! everything said again to each new stream. A test can have it misbehave. One serves all nodes of a lab, where each
//! node has its own in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use prost::Message;
use proto::ca::istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer};
use proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use proto::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use proto::type_url::{ADDRESS, AUTHORIZATION};
use proto::workload::{Address, address};
use rcgen::CertificateSigningRequestParams;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Request, Response, Status, Streaming};

use super::grpc::{Serving, socket};
use super::signer::{Applicant, Signer};
use super::tls_front::{BootstrapPair, TlsFront};
use crate::lab::Node;
use crate::process::wait_until;
use crate::proxy::ProxyOptions;

/// How long a test waits for a proxy to say something.
const WAIT: Duration = Duration::from_secs(20);

/// How long the real agent's certificates are good for.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// A running server.
#[derive(Debug)]
pub struct XdsServer {
    shared: Shared,
    socket: PathBuf,
    serving: Option<Serving>,
    pair: BootstrapPair,
    fronts: Vec<TlsFront>,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<State>>);

/// How requests for certificates are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// As the real one does.
    #[default]
    Checking,
    Refusing(String),
    /// Never.
    Hanging,
}

#[derive(Debug)]
struct State {
    addresses: BTreeMap<String, Resource>,
    policies: BTreeMap<String, Resource>,
    /// Sent to each new stream before it asks for anything.
    early: Vec<Resource>,
    /// Requests are not answered.
    holding: bool,
    /// A change is said to one of the streams.
    sharing: bool,
    streams: Vec<Stream>,
    opened: usize,
    /// All that proxies ever sent.
    heard: Vec<DeltaDiscoveryRequest>,
    nonce: u64,
    signer: Signer,
    signing: Signing,
    lifetime: Duration,
    signed: usize,
    /// What would have crashed the real one.
    crashed: Option<String>,
}

#[derive(Debug)]
struct Stream {
    sender: UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
    subscribed: BTreeSet<String>,
    /// Nonces of responses that the proxy has not answered.
    unanswered: BTreeSet<String>,
    number: usize,
}

impl XdsServer {
    /// One that knows nothing.
    pub fn start() -> Result<Self> {
        let state = State {
            addresses: BTreeMap::new(),
            policies: BTreeMap::new(),
            early: Vec::new(),
            holding: false,
            sharing: false,
            streams: Vec::new(),
            opened: 0,
            heard: Vec::new(),
            nonce: 0,
            signer: Signer::new()?,
            signing: Signing::default(),
            lifetime: CERTIFICATE_LIFETIME,
            signed: 0,
            crashed: None,
        };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let (socket, pair) = (socket("xds-server")?, BootstrapPair::new()?);
        let mut server = Self { shared, socket, serving: None, pair, fronts: Vec::new() };
        server.resume()?;
        Ok(server)
    }

    /// Ends as a process does: every connection is cut, the socket's file stays.
    pub fn stop(&mut self) {
        self.serving = None;
        self.shared.lock().streams.clear();
    }

    /// Serves again after [`XdsServer::stop`].
    pub fn resume(&mut self) -> Result<()> {
        self.serving = Some(Serving::start(&self.socket, Services::new(&self.shared))?);
        Ok(())
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Options for a proxy whose mesh and certificates come from this server over its socket.
    pub fn drives(&self, options: ProxyOptions) -> ProxyOptions {
        let address = format!("unix://{}", self.socket.display());
        options
            .environment("LOCAL_XDS_PATH", "")
            .environment("RINGWAY_CA_DIR", "")
            .environment("XDS_ADDRESS", &address)
            .environment("CA_ADDRESS", &address)
    }

    /// Listens on 127.0.0.1:15012 of a node as well, with TLS.
    pub fn listen_on(&mut self, node: &Node) -> Result<()> {
        self.fronts.push(TlsFront::start(&node.netns, &self.pair, &self.socket)?);
        Ok(())
    }

    /// The same as [`XdsServer::drives`], over that.
    pub fn drives_over_tls(&self, options: ProxyOptions) -> Result<ProxyOptions> {
        self.write_root()?;
        let (root, address) = (self.root_file().display().to_string(), "https://localhost:15012");
        Ok(options
            .environment("LOCAL_XDS_PATH", "")
            .environment("RINGWAY_CA_DIR", "")
            .environment("XDS_ADDRESS", address)
            .environment("CA_ADDRESS", address)
            .environment("XDS_ROOT_CA", &root)
            .environment("CA_ROOT_CA", &root))
    }

    /// Another key pair, whose root is told to the proxies at once; [`XdsServer::listen_on`] serves it from then on.
    pub fn change_pair(&mut self) -> Result<()> {
        self.pair = BootstrapPair::new()?;
        self.write_root()
    }

    /// Closes what listens with TLS, with its connections.
    pub fn close_tls(&mut self) {
        self.fronts.clear();
    }

    /// The root that proxies which are driven over TLS go by.
    fn root_file(&self) -> PathBuf {
        self.socket.with_file_name("bootstrap-root.crt")
    }

    fn write_root(&self) -> Result<()> {
        let file = self.root_file();
        fs::write(&file, self.pair.pem()).with_context(|| format!("writing {}", file.display()))
    }

    /// Says what workloads and services are now, in one response.
    pub fn upsert(&self, resources: Vec<Resource>) {
        let mut state = self.shared.lock();
        state.addresses.extend(resources.iter().map(|resource| (resource.name.clone(), resource.clone())));
        state.push(ADDRESS, resources, Vec::new());
    }

    pub fn remove(&self, names: &[&str]) {
        let mut state = self.shared.lock();
        state.addresses.retain(|name, _| !names.contains(&name.as_str()));
        state.push(ADDRESS, Vec::new(), names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Knows something no more, or never did, without a word: what happens while nobody is connected.
    pub fn forget(&self, names: &[&str]) {
        self.shared.lock().addresses.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// Says something that it does not know: an event that waited too long, or nonsense.
    pub fn blurt(&self, resources: Vec<Resource>) {
        self.shared.lock().push(ADDRESS, resources, Vec::new());
    }

    pub fn upsert_policies(&self, resources: Vec<Resource>) {
        let mut state = self.shared.lock();
        state.policies.extend(resources.iter().map(|resource| (resource.name.clone(), resource.clone())));
        state.push(AUTHORIZATION, resources, Vec::new());
    }

    pub fn remove_policies(&self, names: &[&str]) {
        let mut state = self.shared.lock();
        state.policies.retain(|name, _| !names.contains(&name.as_str()));
        state.push(AUTHORIZATION, Vec::new(), names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Sends this to each new stream before it has asked for anything.
    pub fn send_early(&self, resources: Vec<Resource>) {
        self.shared.lock().early = resources;
    }

    /// Does not answer requests until told otherwise; those that waited are answered then.
    pub fn hold(&self, holding: bool) {
        let mut state = self.shared.lock();
        state.holding = holding;
        if !holding {
            state.answer_held();
        }
    }

    /// Says each change to one stream from now on, and to another one the next time: what the real agent does with events
    /// while there are several (contract 2.4).
    pub fn share_changes(&self) {
        self.shared.lock().sharing = true;
    }

    /// Ends all streams.
    pub fn cut(&self) {
        for stream in self.shared.lock().streams.drain(..) {
            let _ = stream.sender.send(Err(Status::unavailable("cut")));
        }
    }

    pub fn sign(&self, signing: Signing) {
        self.shared.lock().signing = signing;
    }

    pub fn sign_for(&self, lifetime: Duration) {
        self.shared.lock().lifetime = lifetime;
    }

    /// Certificates signed so far.
    pub fn signed(&self) -> usize {
        self.shared.lock().signed
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.shared.lock().streams.len()
    }

    /// Streams ever opened.
    pub fn opened(&self) -> usize {
        self.shared.lock().opened
    }

    /// All that proxies ever sent.
    pub fn heard(&self) -> Vec<DeltaDiscoveryRequest> {
        self.shared.lock().heard.clone()
    }

    /// What proxies refused.
    pub fn refusals(&self) -> Vec<String> {
        self.heard().into_iter().filter_map(|request| Some(request.error_detail?.message)).collect()
    }

    /// Waits until so many streams were ever opened.
    pub fn wait_opened(&self, streams: usize) -> Result<()> {
        wait_until(&format!("{streams} xDS streams"), WAIT, || Ok((self.opened() >= streams).then_some(())))
    }

    /// Waits until every stream has answered all that was said to it.
    pub fn wait_heard(&self) -> Result<()> {
        wait_until("answers to xDS responses", WAIT, || {
            let state = self.shared.lock();
            let answered = state.streams.iter().all(|stream| stream.unanswered.is_empty());
            Ok((answered && !state.streams.is_empty()).then_some(()))
        })
    }
}

impl Drop for XdsServer {
    fn drop(&mut self) {
        if let Some(request) = self.shared.lock().crashed.clone().filter(|_| !std::thread::panicking()) {
            panic!("the real agent would have crashed at the request {request:?}");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// A change, to those who asked for the type.
    fn push(&mut self, type_url: &str, resources: Vec<Resource>, removed: Vec<String>) {
        let asked = |at: &usize| self.streams[*at].subscribed.contains(type_url);
        let mut told: Vec<usize> = (0..self.streams.len()).filter(asked).collect();
        if self.sharing && !told.is_empty() {
            told = vec![told[self.nonce as usize % told.len()]];
        }
        for at in told {
            self.say(at, type_url, resources.clone(), removed.clone());
        }
    }

    fn say(&mut self, at: usize, type_url: &str, resources: Vec<Resource>, removed_resources: Vec<String>) {
        self.nonce += 1;
        let (nonce, type_url) = (self.nonce.to_string(), type_url.to_owned());
        self.streams[at].unanswered.insert(nonce.clone());
        let response =
            DeltaDiscoveryResponse { resources, type_url, nonce, removed_resources, ..Default::default() };
        // A stream that has ended leaves the list by itself.
        let _ = self.streams[at].sender.send(Ok(response));
    }

    fn hear(&mut self, number: usize, request: DeltaDiscoveryRequest) {
        self.heard.push(request.clone());
        let Some(at) = self.streams.iter().position(|stream| stream.number == number) else { return };
        if !request.response_nonce.is_empty() {
            self.streams[at].unanswered.remove(&request.response_nonce);
            return;
        }
        self.streams[at].subscribed.insert(request.type_url.clone());
        if !self.holding {
            self.answer(at, &request.type_url);
        }
    }

    /// The snapshot.
    fn answer(&mut self, at: usize, type_url: &str) {
        let known = if type_url == ADDRESS { &self.addresses } else { &self.policies };
        let resources = known.values().cloned().collect();
        self.say(at, type_url, resources, Vec::new());
    }

    fn answer_held(&mut self) {
        for at in 0..self.streams.len() {
            for type_url in [ADDRESS, AUTHORIZATION] {
                if self.streams[at].subscribed.contains(type_url) {
                    self.answer(at, type_url);
                }
            }
        }
    }

    /// Whether a pod of the service account is known.
    fn knows(&self, applicant: &Applicant) -> bool {
        self.addresses.values().any(|resource| {
            let body = resource.resource.as_ref().map(|body| Address::decode(&*body.value));
            match body {
                Some(Ok(Address { r#type: Some(address::Type::Workload(workload)) })) => {
                    workload.namespace == applicant.namespace
                        && workload.service_account == applicant.service_account
                }
                _ => false,
            }
        })
    }

    fn certify(&mut self, csr: &str) -> Result<Vec<String>, Status> {
        if !csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----") {
            self.crashed = Some(csr.to_owned());
            return Err(Status::unavailable("the agent has crashed"));
        }
        let request = CertificateSigningRequestParams::from_pem(csr)
            .map_err(|error| Status::unknown(error.to_string()))?;
        let applicant = Signer::applicant(&request).map_err(Status::unknown)?;
        if !self.knows(&applicant) {
            let Applicant { namespace, service_account } = applicant;
            let problem =
                format!("no endpoints found for service account {service_account} in namespace {namespace}");
            return Err(Status::unknown(problem));
        }
        self.signed += 1;
        self.signer.sign(request, self.lifetime).map_err(|error| Status::unknown(error.to_string()))
    }
}

// === impl Shared: its services ===

#[tonic::async_trait]
impl AggregatedDiscoveryService for Shared {
    type DeltaAggregatedResourcesStream = UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, responses) = unbounded_channel();
        let number = {
            let mut state = self.lock();
            state.opened += 1;
            let number = state.opened;
            state.streams.push(Stream {
                sender,
                subscribed: BTreeSet::new(),
                unanswered: BTreeSet::new(),
                number,
            });
            let (at, early) = (state.streams.len() - 1, state.early.clone());
            if !early.is_empty() {
                state.say(at, ADDRESS, early, Vec::new());
            }
            number
        };
        let (shared, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                shared.lock().hear(number, request);
            }
            shared.lock().streams.retain(|stream| stream.number != number);
        });
        Ok(Response::new(UnboundedReceiverStream::new(responses)))
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Shared {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let signing = self.lock().signing.clone();
        match signing {
            Signing::Checking => {}
            Signing::Refusing(text) => return Err(Status::unknown(text)),
            Signing::Hanging => std::future::pending::<()>().await,
        }
        let cert_chain = self.lock().certify(&request.into_inner().csr)?;
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

/// Both services on one socket, as the real agent has them.
#[derive(Clone, Debug)]
struct Services {
    discovery: AggregatedDiscoveryServiceServer<Shared>,
    certificates: IstioCertificateServiceServer<Shared>,
}

impl Services {
    fn new(shared: &Shared) -> Self {
        Self {
            discovery: AggregatedDiscoveryServiceServer::new(shared.clone()),
            certificates: IstioCertificateServiceServer::new(shared.clone()),
        }
    }
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path().starts_with("/istio.v1.auth.") {
            true => self.certificates.call(request),
            false => self.discovery.call(request),
        }
    }
}
