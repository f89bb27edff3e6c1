//! `GET /status`: how the proxy is, and what is wrong.

use serde::{Deserialize, Serialize};

use super::FlowDirection;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    /// `NODE_NAME`
    pub node: Option<String>,
    pub ready: bool,
    /// What keeps it from being ready.
    pub waiting_for: Vec<String>,
    /// What tunnels may be encrypted with, the preferred one first.
    #[serde(default)]
    pub tls_suites: Vec<String>,
    pub mesh: MeshReport,
    pub control_connections: Vec<PlaneReport>,
    pub pods: Vec<PodReport>,
    /// Pods that the mesh says are of this node and want to be served, and that nobody has named to this proxy: the
    /// first few, `namespace/pod`.
    #[serde(default)]
    pub unserved: Vec<String>,
    pub certificates: Vec<CertificateReport>,
    /// Connections that failed lately and did not work since, the latest first.
    #[serde(default)]
    pub failures: Vec<FailureReport>,
    pub shards: Vec<ShardReport>,
    /// What is wrong, and what to do.
    pub problems: Vec<Problem>,
}

/// How much of the mesh is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshReport {
    pub trust_domain: String,
    pub cluster_id: String,
    pub network: String,
    pub workloads: u64,
    pub services: u64,
    pub policies: u64,
}

/// A control plane, or a file that takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneReport {
    /// `zds`, `xds`, `certificates`, `container runtime`, `mesh file`, `pods file`
    pub name: String,
    /// The path of a file.
    pub address: String,
    /// It is a file.
    #[serde(default)]
    pub file: bool,
    /// Of a file: it is as it should be, and in force.
    pub connected: bool,
    /// For how many seconds it has been so.
    pub seconds: u64,
    /// How often a connection stood, or a file became what it should be.
    pub connections: u64,
    pub error: Option<String>,
}

impl PlaneReport {
    /// What it is to those who do not know its name.
    pub fn role(&self) -> &str {
        match self.name.as_str() {
            "zds" => "node agent (zds)",
            "xds" => "xDS server",
            "certificates" => "source of certificates",
            other => other,
        }
    }
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodReport {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub service_account: String,
    /// Why it is not served yet.
    pub pending: Option<String>,
    /// Another proxy serves it as well.
    #[serde(default)]
    pub shared: bool,
    /// The mesh describes it: without that its connections are refused.
    pub in_mesh: bool,
    pub open: OpenConnections,
}

/// What a pod has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConnections {
    pub outbound: u64,
    pub inbound: u64,
    pub tunnels_out: u64,
    pub tunnels_in: u64,
}

/// A certificate that is used, or wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    pub identity: String,
    /// The only pod that may use it, by uid.
    pub pod: Option<String>,
    /// Seconds until it ends, negative if it has; none where there is no certificate.
    pub seconds_left: Option<i64>,
    /// Tries in a row to get one that failed.
    pub failures: u64,
    pub error: Option<String>,
}

/// Connections between the same two ends that never came to stand, in the last ten minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    pub direction: FlowDirection,
    /// `namespace/pod`, or its address where the mesh does not know it.
    pub source: String,
    /// The same, with the port where one was asked for.
    pub destination: String,
    /// The node of the other end, where the mesh knows it.
    pub peer_node: Option<String>,
    /// Both ends have proxies and are still in the mesh as they were, and it is between these that it failed.
    pub of_mesh: bool,
    /// As `response_flags` of the metrics.
    pub flag: String,
    pub count: u64,
    /// When it was the last time.
    pub seconds_ago: u64,
    /// What went wrong then.
    pub error: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReport {
    pub shard: u64,
    pub tunnels: u64,
    /// Connections in tunnels.
    pub streams: u64,
    /// Connections that are not.
    pub pairs: u64,
    pub buffered_bytes: u64,
    /// The longest time for which nobody was served, in microseconds.
    pub longest_turn_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub what: String,
    /// What to do about it.
    pub cure: String,
}
