//! Which sources the environment names, opened: the reconciler that follows them, and the clients that feed it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use engine::mesh::Snapshot;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::ca::{Authority, CaError};
use crate::certificates::{CERTIFICATE_EVENTS_MAX, CertificateSource, Embedded, IstioCa, Spire, Wants};
use crate::channel::HeaderError;
use crate::crl::Crl;
use crate::environment::{CertificateSettings, Environment, MeshSource, Mode, PodSource};
use crate::local::{LocalError, LocalMesh, PodsFile};
use crate::pods::{Pods, Running};
use crate::reconciler::{Latest, MeshFeed, MeshUpdate, PodFeed, PodNews, Reconciler};
use crate::status::Status;
use crate::succession::Succession;
use crate::waits::watch_over;
use crate::xds;
use crate::zds::{Client, POD_EVENTS_MAX};

/// Why a source cannot be followed.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    File(#[from] LocalError),
    #[error(transparent)]
    Authority(#[from] CaError),
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// What outlives a run of the control thread: a run that begins goes on from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) running: Running,
    pub(crate) latest: Latest,
    pub(crate) status: Status,
    pub(crate) succession: Succession,
}

/// Clients of control planes, each a task that begins when they are watched: who only looks whether everything can be
/// opened connects to nobody. One that panics takes the run with it.
#[derive(Default)]
pub(crate) struct Clients {
    waiting: Vec<Pin<Box<dyn Future<Output = Infallible> + Send>>>,
    running: JoinSet<Infallible>,
}

/// Opens everything that the environment names. Files and authorities are read here for the first time, so that what is
/// wrong with them is known at once; control planes are connected to when the clients run.
pub(crate) async fn open(
    environment: &Environment,
    known: &Known,
) -> Result<(Reconciler, Clients), SourceError> {
    let mut clients = Clients::default();
    let (wants, wanted) = watch::channel(Wants::new());
    let (events, certificates) = mpsc::channel(CERTIFICATE_EVENTS_MAX);
    let mut pods = Pods::new(known.running.clone(), known.status.clone(), known.succession.clone());
    let mut mesh = mesh_feed(environment, known, &mut clients)?;
    let first = match mesh {
        MeshFeed::Local(_) => {
            let first = mesh.next().await;
            mesh.note(first.as_ref().err(), &known.status);
            first?
        }
        MeshFeed::Plane(_) => MeshUpdate::default(),
    };
    let pod_feed = pod_feed(environment, known, &mut pods, &mut clients).await?;
    let suites = environment.suites;
    match &environment.certificates {
        CertificateSettings::Embedded(settings) => {
            let source = Embedded::new(Authority::open(&settings.dir)?, settings.ttl, suites);
            clients.add(source.run(wanted, events));
        }
        CertificateSettings::Istio(settings) => {
            let source = IstioCa::new(settings, &environment.mesh.cluster_id, suites, known.status.clone())?;
            clients.add(source.run(wanted, events));
        }
        CertificateSettings::Spire(settings) => {
            let trust_domain = environment.mesh.trust_domain.clone();
            let source = Spire::new(settings.clone(), trust_domain, suites, known.status.clone());
            clients.add(source.run(wanted, events));
        }
    }
    let mut snapshot = beginning(&mesh, environment, known);
    let mut crl = environment.revocations.as_deref().map(Crl::new);
    if let Some(crl) = &mut crl {
        // Before the first pod is served; after a panic what was known stays known.
        let known = || snapshot.revocations().cloned().unwrap_or_default();
        let lists = crl.at_start().unwrap_or_else(known);
        snapshot.set_revocations(lists);
    }
    let mut reconciler = Reconciler {
        snapshot,
        mesh,
        pod_feed,
        pods,
        waiting: Vec::new(),
        wants,
        certificates,
        crl,
        latest: known.latest.clone(),
        status: known.status.clone(),
        changed: true,
        partial: false,
        counted: (0, 0),
        synced: known.status.read(|state| state.synced),
    };
    reconciler.take_mesh(first);
    Ok((reconciler, clients))
}

/// Everything that is wrong with what the environment names, looked at without connecting to anybody or making
/// anything: a start that is refused leaves nothing behind, and is corrected once.
pub(crate) async fn refusals(environment: &Environment) -> Vec<SourceError> {
    let (known, mut clients) = (Known::new(environment), Clients::default());
    let mesh = match mesh_feed(environment, &known, &mut clients) {
        Ok(MeshFeed::Local(mesh)) => mesh.check().await.map_err(SourceError::from),
        Ok(MeshFeed::Plane(_)) => Ok(()),
        Err(error) => Err(error),
    };
    let mut pods = Pods::new(Running::default(), Status::default(), Succession::default());
    let pods = pod_feed(environment, &known, &mut pods, &mut clients).await.map(drop);
    let certificates = match &environment.certificates {
        CertificateSettings::Embedded(settings) => Authority::check(&settings.dir).map_err(SourceError::from),
        CertificateSettings::Istio(settings) => {
            let source =
                IstioCa::new(settings, &environment.mesh.cluster_id, environment.suites, Status::default());
            source.map(drop).map_err(SourceError::from)
        }
        CertificateSettings::Spire(_) => Ok(()),
    };
    [mesh, pods, certificates].into_iter().filter_map(Result::err).collect()
}

/// Makes what a first start makes: the root of the embedded authority.
pub(crate) fn make(environment: &Environment) -> Result<(), SourceError> {
    match &environment.certificates {
        CertificateSettings::Embedded(settings) => Ok(Authority::open(&settings.dir).map(drop)?),
        CertificateSettings::Istio(_) | CertificateSettings::Spire(_) => Ok(()),
    }
}

/// A server tells what is gone since the last snapshot; a file is read as a whole, and only the certificates stay.
fn beginning(mesh: &MeshFeed, environment: &Environment, known: &Known) -> Snapshot {
    let last = known.latest.get();
    if matches!(mesh, MeshFeed::Plane(_)) {
        return Snapshot::clone(&last);
    }
    let mut snapshot = Snapshot::new(environment.mesh.clone());
    for (holder, credentials) in last.holders() {
        snapshot.upsert_credentials(holder, Arc::clone(credentials));
    }
    if let Some(lists) = last.revocations() {
        snapshot.set_revocations(Arc::clone(lists));
    }
    snapshot
}

fn mesh_feed(
    environment: &Environment,
    known: &Known,
    clients: &mut Clients,
) -> Result<MeshFeed, SourceError> {
    let settings = environment.mesh.clone();
    match &environment.mesh_source {
        MeshSource::File(path) => Ok(MeshFeed::Local(Box::new(LocalMesh::file(path, settings)))),
        MeshSource::Inline(text) => Ok(MeshFeed::Local(Box::new(LocalMesh::inline(text.clone(), settings)))),
        MeshSource::Xds(settings) => {
            let (client, updates) = xds::client(settings, &known.latest.get(), known.status.clone())?;
            clients.add(client.run(known.succession.follow_anew()));
            Ok(MeshFeed::Plane(updates))
        }
    }
}

async fn pod_feed(
    environment: &Environment,
    known: &Known,
    pods: &mut Pods,
    clients: &mut Clients,
) -> Result<PodFeed, SourceError> {
    match &environment.mode {
        Mode::Shared { pods: PodSource::File(path) } => {
            let mut feed = PodFeed::File(Box::new(PodsFile::new(path)));
            let first = feed.next().await;
            feed.note(first.as_ref().err(), &known.status);
            if let PodNews::File(listed) = first? {
                pods.apply(listed);
            }
            Ok(feed)
        }
        Mode::Shared { pods: PodSource::Zds(path) } => {
            pods.follow_agent();
            let (events, feed) = mpsc::channel(POD_EVENTS_MAX);
            let client = Client::new(path.clone(), events, known.status.clone(), &known.succession);
            clients.add(client.run());
            Ok(PodFeed::Agent(feed))
        }
        Mode::Dedicated { workload } => {
            pods.want_own(workload.clone());
            Ok(PodFeed::Own)
        }
    }
}

// === impl Known ===

impl Known {
    pub(crate) fn new(environment: &Environment) -> Self {
        let latest = Latest::new(Arc::new(Snapshot::new(environment.mesh.clone())));
        Self { latest, ..Self::default() }
    }
}

// === impl Clients ===

impl Clients {
    /// A client that runs once they are watched: sources that are only opened connect nowhere.
    pub(crate) fn add(&mut self, client: impl Future<Output = Infallible> + Send + 'static) {
        self.waiting.push(Box::pin(client));
    }

    /// Runs them. Passes on the panic of a client; otherwise for ever.
    pub(crate) async fn watch(&mut self) -> Infallible {
        for client in self.waiting.drain(..) {
            self.running.spawn(client);
        }
        watch_over(&mut self.running).await
    }
}
