//! The environment of the process, read once at start into typed settings.
//!
//! The names and defaults are ztunnel's, so that a chart written for it works unchanged; `RINGWAY_*` are ours.
//! Every mistake is found before anything is redirected or listens, and all of them are told at once: an operator
//! who corrects one variable per restart of a DaemonSet loses an afternoon. An empty value counts as unset, since
//! that is what charts render for a value left out. A variable that asks for something this version does not have
//! refuses the start: silently going without it would be a lie about what is protected.

mod engine;
mod machine;
mod planes;
mod refusals;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod value;
mod variables;
mod workers;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ::engine::engine::EngineConfig;
use ::engine::mesh::{MeshSettings, TrustDomain};
use ::engine::tls::Suites;
use serde_json::{Map, Value};
use thiserror::Error;

pub use crate::metrics::SeriesLimits;
pub use engine::PACKET_MARK_DEFAULT;
pub use machine::Machine;
pub use token::Token;
pub use workers::{WorkerRule, Workers};

use variables::Variables;

/// What one variable says that we cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}{}: {accepted}", .value.as_ref().map(|value| format!("={value}")).unwrap_or_default())]
pub struct Problem {
    pub name: &'static str,
    /// `None` where the variable is not set and must be.
    pub value: Option<String>,
    /// What would be right, or why it cannot be had.
    pub accepted: String,
}

/// All that is wrong with the environment, one line per variable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the environment cannot be followed:\n{}", .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct EnvironmentError(pub Vec<Problem>);

/// A workload named by its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadName {
    pub namespace: String,
    pub name: String,
    pub service_account: String,
}

/// Whose connections are carried (`PROXY_MODE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every pod of the node that is named to us, each in its own network namespace.
    Shared { pods: PodSource },
    /// One pod, whose network namespace we live in (`PROXY_WORKLOAD_INFO`).
    Dedicated { workload: WorkloadName },
}

/// Who names the pods of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodSource {
    /// A file of ours (`RINGWAY_PODS_PATH`).
    File(PathBuf),
    /// A node agent, by ZDS over this socket (`INPOD_UDS`).
    Zds(PathBuf),
}

/// Where the mesh is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshSource {
    /// `LOCAL_XDS_PATH`
    File(PathBuf),
    /// `LOCAL_XDS`
    Inline(String),
    /// `XDS_ADDRESS`
    Xds(Box<XdsSettings>),
}

/// An xDS server, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsSettings {
    pub channel: ChannelSettings,
    pub node: NodeSettings,
}

/// What an xDS server is told about us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// `INSTANCE_IP`
    pub instance_ip: Option<IpAddr>,
    /// `POD_NAME`; empty where it is not set, as in Cilium's chart.
    pub pod_name: String,
    /// `POD_NAMESPACE`
    pub pod_namespace: String,
    /// `NODE_NAME`
    pub node_name: String,
    /// `ISTIO_META_*` and `ISTIO_METAJSON_*`, without the prefix.
    pub metadata: Map<String, Value>,
}

/// A gRPC channel to a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    pub endpoint: Endpoint,
    /// What the server is verified with, where it speaks TLS (`XDS_ROOT_CA`, `CA_ROOT_CA`).
    pub root: Root,
    /// A name that the server's certificate may carry instead of the host's (`ALT_XDS_HOSTNAME`, `ALT_CA_HOSTNAME`).
    pub alternative_name: Option<String>,
    /// Sent as `authorization: Bearer` (`AUTH_TOKEN`).
    pub token: Option<Token>,
    /// Further headers of each call (`XDS_HEADER_*`, `CA_HEADER_*`), names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Where a control plane listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tls { host: String, port: u16 },
    Plain { host: String, port: u16 },
    Unix(PathBuf),
}

/// Roots that a control plane is verified with: PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Read anew for each connection, so that a replaced root needs no restart.
    File(PathBuf),
    Pem(String),
}

/// Who signs the certificates of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSettings {
    Embedded(CaSettings),
    Istio(IstioCaSettings),
    Spire(SpireSettings),
}

/// The embedded certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSettings {
    pub dir: PathBuf,
    /// How long a workload's certificate is valid.
    pub ttl: Duration,
}

/// A certificate authority that takes signing requests, as Istio's and Cilium's do (`CA_ADDRESS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IstioCaSettings {
    pub channel: ChannelSettings,
    /// How long a certificate is asked for (`SECRET_TTL`).
    pub ttl: Duration,
    /// Requests say for whom they are: in shared mode, where the caller is the node's proxy and not the workload.
    pub on_behalf: bool,
}

/// SPIRE's Delegated Identity API (`SPIRE_ENABLED`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpireSettings {
    /// `SPIRE_ADMIN_ENDPOINT_SOCKET`
    pub admin_socket: PathBuf,
    pub attestation: Attestation,
    /// How long connecting and the first answer may take (`SPIRE_TIMEOUT`).
    pub timeout: Duration,
    /// Trust domains beside our own whose roots are taken over (`RINGWAY_SPIRE_FEDERATED_TRUST_DOMAINS`).
    pub federated: Vec<TrustDomain>,
}

/// How SPIRE's agent learns which workload an SVID is for (`RINGWAY_SPIRE_ATTEST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// By a process of the pod, found through the container runtime (`CONTAINER_RUNTIME_SOCK_PATH`).
    Pid { runtime_socket: PathBuf },
    /// By namespace and service account, which we vouch for.
    Selectors,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter in the syntax of `RUST_LOG`.
    pub filter: String,
    pub format: LogFormat,
    /// What policies in dry run find is logged at INFO and not at DEBUG (`AUTHZ_POLICY_INFO_LOGGING`).
    pub findings_at_info: bool,
}

/// Everything the environment decides.
#[derive(Clone, Debug)]
pub struct Environment {
    pub mode: Mode,
    pub engine: EngineConfig,
    /// What is the same for the whole mesh.
    pub mesh: MeshSettings,
    /// Which node of the mesh this is (`NODE_NAME`).
    pub node_name: Option<String>,
    pub mesh_source: MeshSource,
    pub certificates: CertificateSettings,
    /// What tunnels are encrypted with (`RINGWAY_TLS_SUITES`).
    pub suites: Suites,
    /// A file of certificates that were taken back (`CRL_PATH`).
    pub revocations: Option<PathBuf>,
    /// How long open connections may go on after the order to end.
    pub drain_deadline: Duration,
    /// Where a person asks (15000; `PROXY_CONFIG` `proxyAdminPort`).
    pub admin_address: SocketAddr,
    /// Where metrics are scraped (15020; `PROXY_CONFIG` `statsPort`).
    pub stats_address: SocketAddr,
    pub readiness_address: SocketAddr,
    /// How many series of connections the metrics have room for.
    pub series: SeriesLimits,
    /// Where the control thread runs, if it is to be pinned.
    pub control_core: Option<usize>,
    pub log: LogSettings,
    /// What was set and has no effect: to be logged once logging works.
    pub warnings: Vec<String>,
}

impl Environment {
    /// Reads these variables.
    pub fn read(
        all: impl IntoIterator<Item = (String, String)>,
        machine: &Machine,
    ) -> Result<Self, EnvironmentError> {
        let mut variables = Variables::new(all);
        let environment = settings::read(&mut variables, machine);
        variables.finish(environment)
    }

    /// Reads the variables of this process.
    pub fn of_process(machine: &Machine) -> Result<Self, EnvironmentError> {
        // A value that is not text cannot be one of ours.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::read(std::env::vars_os().filter_map(text), machine)
    }
}
