//! What the control thread knows about itself: control planes, pods, certificates, counters.
//!
//! Written by whoever does the work, read by the admin endpoint and the metrics. It outlives a run of the thread, as
//! the readiness does; every change is a single call under the lock, so that a panic leaves nothing half done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use engine::mesh::Holder;
use tracing::info;

/// The shared state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// The control planes that are spoken to.
    pub(crate) planes: BTreeMap<Plane, PlaneStatus>,
    /// All of the mesh was told, once at least.
    pub(crate) synced: bool,
    /// Pods of this node, by uid.
    pub(crate) pods: BTreeMap<Arc<str>, PodStatus>,
    pub(crate) certificates: BTreeMap<Holder, CertificateStatus>,
    /// xDS messages by type URL: how many came, and how many bytes they had.
    pub(crate) xds_messages: BTreeMap<String, (u64, u64)>,
    /// Ends of xDS streams by reason (`ConnectionError`, `Error`, `Reconnect`, `Complete`).
    pub(crate) xds_terminations: BTreeMap<&'static str, u64>,
    /// Pods ever added to, and removed from, the data plane.
    pub(crate) pods_started: u64,
    pub(crate) pods_stopped: u64,
}

/// Whom the control thread speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plane {
    /// The node agent that names pods.
    Zds,
    /// The server that describes the mesh.
    Xds,
    /// Whoever signs certificates.
    Certificates,
    /// The container runtime that knows processes.
    ContainerRuntime,
    /// The file that describes the mesh where no server does.
    MeshFile,
    /// The file that lists the pods where no agent names them.
    PodsFile,
}

#[derive(Clone, Debug)]
pub(crate) struct PlaneStatus {
    /// Where it is; the path of a file.
    pub(crate) address: String,
    /// What it said last is in force: the connection stands, or the file is as it should be.
    pub(crate) connected: bool,
    /// When `connected` last changed.
    pub(crate) since: SystemTime,
    /// Why it is not connected, or what was last wrong; says who is at fault and what to do.
    pub(crate) error: Option<String>,
    /// How often a connection stood.
    pub(crate) connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodStatus {
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) service_account: Arc<str>,
    /// Why it has no listeners yet; `None` if it has.
    pub(crate) pending: Option<String>,
    /// Another proxy has listeners there as well.
    pub(crate) shared: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateStatus {
    /// What went wrong at the last try; `None` after a success.
    pub(crate) error: Option<String>,
    /// Tries in a row that failed.
    pub(crate) failures: u64,
    /// Certificates ever obtained for this holder.
    pub(crate) obtained: u64,
}

/// Seconds until `end`, negative once it is over.
pub(crate) fn seconds_left(end: SystemTime, now: SystemTime) -> i64 {
    match end.duration_since(now) {
        Ok(left) => left.as_secs() as i64,
        Err(over) => -(over.duration().as_secs() as i64),
    }
}

// === impl Plane ===

impl Plane {
    /// As metrics and reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zds => "zds",
            Self::Xds => "xds",
            Self::Certificates => "certificates",
            Self::ContainerRuntime => "container runtime",
            Self::MeshFile => "mesh file",
            Self::PodsFile => "pods file",
        }
    }

    /// It is read, not spoken to.
    pub(crate) fn is_file(self) -> bool {
        matches!(self, Self::MeshFile | Self::PodsFile)
    }
}

// === impl Status ===

impl Status {
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The control plane is about to answer for the first time, or again: that is told where nothing else is wrong.
    pub(crate) fn begun(&self, plane: Plane, address: &str, waits_for: &str) {
        self.update(|state| {
            let status = state.plane(plane, address);
            if !status.connected {
                status.error.get_or_insert_with(|| waits_for.to_owned());
            }
        });
    }

    /// There is somebody, who has not answered yet.
    pub(crate) fn opening(&self, plane: Plane, address: &str, waits_for: &str) {
        self.update(|state| {
            let status = state.plane(plane, address);
            if !status.connected {
                status.error = Some(waits_for.to_owned());
            }
        });
    }

    /// A connection to the control plane stands.
    pub(crate) fn connected(&self, plane: Plane, address: &str) {
        self.update(|state| {
            let status = state.plane(plane, address);
            status.connections += 1;
            status.error = None;
            if !status.connected {
                (status.connected, status.since) = (true, SystemTime::now());
            }
        });
    }

    /// A control plane that is called now and then has answered.
    pub(crate) fn answered(&self, plane: Plane, address: &str) {
        let stood = self.read(|state| state.planes.get(&plane).is_some_and(|status| status.connected));
        match stood {
            true => self.update(|state| state.plane(plane, address).error = None),
            false => self.connected(plane, address),
        }
    }

    /// A file was read, or what it says now cannot be followed.
    pub(crate) fn read_file(&self, file: Plane, path: &Path, problem: Option<String>) {
        let address = path.display().to_string();
        let wrong = self.read(|state| state.planes.get(&file).is_some_and(|status| status.error.is_some()));
        match problem {
            Some(problem) => self.disconnected(file, &address, problem),
            None => {
                self.answered(file, &address);
                if wrong {
                    info!(path = address, "the {} can be followed again, and is in force", file.name());
                }
            }
        }
    }

    /// The connection stands, and something about it is wrong.
    pub(crate) fn trouble(&self, plane: Plane, address: &str, error: String) {
        self.update(|state| state.plane(plane, address).error = Some(error));
    }

    /// There is no connection to the control plane, and why.
    pub(crate) fn disconnected(&self, plane: Plane, address: &str, error: String) {
        self.update(|state| {
            let status = state.plane(plane, address);
            status.error = Some(error);
            if status.connected {
                (status.connected, status.since) = (false, SystemTime::now());
            }
        });
    }
}

impl State {
    fn plane(&mut self, plane: Plane, address: &str) -> &mut PlaneStatus {
        self.planes.entry(plane).or_insert_with(|| PlaneStatus {
            address: address.to_owned(),
            connected: false,
            since: SystemTime::now(),
            error: None,
            connections: 0,
        })
    }
}
