//! SPIRE's agent for delegates, in the hands of a test: it says what it is told to, when it is told to.

use std::collections::BTreeMap;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use proto::spire::delegated_identity_server::{DelegatedIdentity, DelegatedIdentityServer};
use proto::spire::{
    Spiffeid, SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse, SubscribeToX509sviDsRequest,
    SubscribeToX509sviDsResponse, X509svid, X509svidWithKey,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

use super::grpc::{Serving, socket};
use crate::authority::{Authority, Validity};

/// The trust domain whose roots it hands out.
const TRUST_DOMAIN: &str = "spiffe://cluster.local";

/// By what a subscription names a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// `k8s:ns` and `k8s:sa`.
    Selectors {
        namespace: String,
        service_account: String,
    },
    Process(u32),
}

/// How it answers whoever opens a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Serving,
    /// As after a restart, before its entries are there: PermissionDenied.
    Denying,
    /// Takes every call and says nothing: a process that was stopped.
    Frozen,
}

/// A running agent.
#[derive(Debug)]
pub struct ScriptedAgent {
    agent: Shared,
    socket: PathBuf,
    serving: Option<Serving>,
}

type SvidSender = UnboundedSender<Result<SubscribeToX509sviDsResponse, Status>>;
type BundleSender = UnboundedSender<Result<SubscribeToX509BundlesResponse, Status>>;

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// What a stream of a workload begins with; nothing matches one that is not in here.
    said: BTreeMap<Workload, SubscribeToX509sviDsResponse>,
    roots: BTreeMap<String, Vec<u8>>,
    svid_streams: Vec<(Workload, SvidSender)>,
    bundle_streams: Vec<BundleSender>,
    /// Every stream of SVIDs that was ever asked for.
    asked: Vec<Workload>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

impl ScriptedAgent {
    /// One that knows no workload and no root.
    pub fn start() -> Result<Self> {
        let mut agent = Self { agent: Shared::default(), socket: socket("spire-agent")?, serving: None };
        agent.restart()?;
        Ok(agent)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Hands out the roots of these from now on.
    pub fn trust(&self, authorities: &[&Authority]) {
        let roots = authorities.iter().flat_map(|authority| authority.root().to_vec()).collect();
        let mut state = self.agent.lock();
        state.roots.insert(TRUST_DOMAIN.to_owned(), roots);
        let message = state.bundles();
        state.bundle_streams.retain(|stream| stream.send(Ok(message.clone())).is_ok());
    }

    /// Says that a workload has these SVIDs, to the streams that are open and to those that come.
    pub fn say(&self, workload: &Workload, svids: Vec<X509svidWithKey>) {
        let message = SubscribeToX509sviDsResponse { x509_svids: svids, federates_with: Vec::new() };
        let mut state = self.agent.lock();
        state.said.insert(workload.clone(), message.clone());
        let ours = |(other, stream): &(Workload, SvidSender)| {
            other != workload || stream.send(Ok(message.clone())).is_ok()
        };
        state.svid_streams.retain(ours);
    }

    /// Says again to everybody what it said before.
    pub fn repeat(&self) {
        let state = self.agent.lock();
        for (workload, stream) in &state.svid_streams {
            let _ = stream.send(Ok(state.said.get(workload).cloned().unwrap_or_default()));
        }
        let message = state.bundles();
        for stream in &state.bundle_streams {
            let _ = stream.send(Ok(message.clone()));
        }
    }

    /// Ends every stream, in order.
    pub fn end_streams(&self) {
        let mut state = self.agent.lock();
        (state.svid_streams, state.bundle_streams) = (Vec::new(), Vec::new());
    }

    /// How it answers from now on. Frozen, it says nothing on open streams either.
    pub fn set_mood(&self, mood: Mood) {
        self.agent.lock().mood = mood;
    }

    /// What was asked for since the last time.
    pub fn asked(&self) -> Vec<Workload> {
        take(&mut self.agent.lock().asked)
    }

    /// Its connections are cut and its socket refuses, until it is started again.
    pub fn kill(&mut self) {
        self.serving = None;
        self.end_streams();
    }

    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.serving = Some(Serving::start(&self.socket, DelegatedIdentityServer::new(self.agent.clone()))?);
        Ok(())
    }
}

/// An SVID for this SPIFFE ID.
pub fn svid(authority: &Authority, id: &str, validity: Validity) -> Result<X509svidWithKey> {
    let leaf = authority.issue(&[id], validity)?;
    let name = id.strip_prefix("spiffe://").and_then(|name| name.split_once('/'));
    let (trust_domain, path) = name.with_context(|| format!("no SPIFFE ID: {id}"))?;
    let svid = X509svid {
        cert_chain: leaf.chain.iter().map(|certificate| certificate.to_vec()).collect(),
        id: Some(Spiffeid { trust_domain: trust_domain.to_owned(), path: format!("/{path}") }),
        ..X509svid::default()
    };
    Ok(X509svidWithKey { x509_svid: Some(svid), x509_svid_key: leaf.key.secret_der().to_vec() })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bundles(&self) -> SubscribeToX509BundlesResponse {
        SubscribeToX509BundlesResponse { ca_certificates: self.roots.clone().into_iter().collect() }
    }
}

impl Workload {
    fn of(request: &SubscribeToX509sviDsRequest) -> Result<Self, Status> {
        let selector = |prefix: &str| {
            let values = request.selectors.iter().filter(|selector| selector.r#type == "k8s");
            values.filter_map(|selector| selector.value.strip_prefix(prefix)).next().map(str::to_owned)
        };
        let process = u32::try_from(request.pid).ok().filter(|pid| *pid != 0);
        match (selector("ns:"), selector("sa:"), process) {
            (Some(namespace), Some(service_account), None) => {
                Ok(Self::Selectors { namespace, service_account })
            }
            (None, None, Some(process)) => Ok(Self::Process(process)),
            _ => Err(Status::invalid_argument("must provide either selectors or non-zero PID, but not both")),
        }
    }
}

#[tonic::async_trait]
impl DelegatedIdentity for Shared {
    type SubscribeToX509SVIDsStream = UnboundedReceiverStream<Result<SubscribeToX509sviDsResponse, Status>>;
    type SubscribeToX509BundlesStream =
        UnboundedReceiverStream<Result<SubscribeToX509BundlesResponse, Status>>;

    async fn subscribe_to_x509svi_ds(
        &self,
        request: Request<SubscribeToX509sviDsRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDsStream>, Status> {
        let workload = Workload::of(&request.into_inner())?;
        let (sender, stream) = unbounded_channel();
        let mut state = self.lock();
        state.asked.push(workload.clone());
        match state.mood {
            Mood::Denying => return Err(Status::permission_denied("no identity issued")),
            Mood::Frozen => {}
            Mood::Serving => _ = sender.send(Ok(state.said.get(&workload).cloned().unwrap_or_default())),
        }
        state.svid_streams.push((workload, sender));
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn subscribe_to_x509_bundles(
        &self,
        _request: Request<SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let (sender, stream) = unbounded_channel();
        let mut state = self.lock();
        match state.mood {
            Mood::Denying => return Err(Status::permission_denied("no identity issued")),
            Mood::Frozen => {}
            Mood::Serving => _ = sender.send(Ok(state.bundles())),
        }
        state.bundle_streams.push(sender);
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }
}
