//! The environment of the process, read once at start into typed settings.
//!
//! The names and defaults are ztunnel's, so that a chart written for it works unchanged; `RINGWAY_*` are ours.
//! Every mistake is found before anything is redirected or listens, and all of them are told at once: an operator
//! who corrects one variable per restart of a DaemonSet loses an afternoon. An empty value counts as unset, since
//! that is what charts render for a value left out. A variable that asks for something this version does not have
//! refuses the start: silently going without it would be a lie about what is protected.

mod engine;
mod machine;
mod refusals;
mod settings;
#[cfg(test)]
mod tests;
mod value;
mod variables;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::engine::engine::EngineConfig;
use ::engine::mesh::MeshSettings;
use thiserror::Error;

pub use engine::PACKET_MARK_DEFAULT;
pub use machine::Machine;
pub use workers::WorkerRule;

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
    /// Every pod of a file of ours, each in its own network namespace (`RINGWAY_PODS_PATH`).
    Shared { pods: PathBuf },
    /// One pod, whose network namespace we live in (`PROXY_WORKLOAD_INFO`).
    Dedicated { workload: WorkloadName },
}

/// Where the mesh is described (`LOCAL_XDS_PATH`, `LOCAL_XDS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalMesh {
    File(PathBuf),
    Inline(String),
}

/// The embedded certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSettings {
    pub dir: PathBuf,
    /// How long a workload's certificate is valid.
    pub ttl: Duration,
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
    pub local_mesh: LocalMesh,
    pub ca: CaSettings,
    /// How long open connections may go on after the order to end.
    pub drain_deadline: Duration,
    pub readiness_address: SocketAddr,
    /// Where the control thread runs, if it is to be pinned.
    pub control_core: Option<usize>,
    pub log: LogSettings,
    /// What was set and has no effect: to be logged once logging works.
    pub warnings: Vec<String>,
}

impl Environment {
    /// Reads the variables that `lookup` answers for.
    pub fn read(
        lookup: impl Fn(&str) -> Option<String>,
        machine: &Machine,
    ) -> Result<Self, EnvironmentError> {
        let mut variables = Variables::new(&lookup);
        let environment = settings::read(&mut variables, machine);
        variables.finish(environment)
    }

    /// Reads the variables of this process.
    pub fn of_process(machine: &Machine) -> Result<Self, EnvironmentError> {
        Self::read(|name| std::env::var(name).ok(), machine)
    }
}
