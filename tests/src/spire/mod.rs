//! The real SPIRE on this machine: a server, agents, and registration entries, without Kubernetes.
//!
//! Everything runs in one network namespace of its own; what proxies need of it are sockets in the file system. Entries
//! are those that a cluster has: one for the proxy, by its uid here, and below it one for each workload.

mod agent;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

pub use agent::{Attest, SpireAgent};
pub use server::SpireServer;

use crate::shell::find_program;

/// The folder that holds `spire-server` and `spire-agent`, if they are not in PATH.
pub const RINGWAY_SPIRE_BIN: &str = "RINGWAY_SPIRE_BIN";

/// The trust domain of every set-up here.
pub const TRUST_DOMAIN: &str = "cluster.local";

/// Whose entry the proxies match, and the parent of the entries of workloads.
pub const DELEGATE: &str = "spiffe://cluster.local/ztunnel";

/// The parent of the proxies' entry: every agent is this one too.
const NODE: &str = "spiffe://cluster.local/node";

/// The files of an authority that a server signs its own with: its certificate, its key, and the root above it.
pub const UPSTREAM_CERTIFICATE: &str = "upstream.crt";
pub const UPSTREAM_KEY: &str = "upstream.key";
pub const UPSTREAM_ROOT: &str = "upstream-root.crt";

/// How the server signs.
#[derive(Clone, Debug)]
pub struct SpireOptions {
    /// How long the SVID of a workload is valid.
    pub svid_ttl: Duration,
    /// How long the server's own certificate is valid.
    pub authority_ttl: Duration,
    /// The directory of an authority above it; its own is a root without one.
    pub upstream: Option<PathBuf>,
}

impl Default for SpireOptions {
    fn default() -> Self {
        let (svid_ttl, authority_ttl) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
        Self { svid_ttl, authority_ttl, upstream: None }
    }
}

/// By what a workload is known to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector<'s> {
    /// Its namespace and service account, which the delegate states.
    Kubernetes { namespace: &'s str, service_account: &'s str },
    /// The user its process runs as, which the agent looks at.
    User(u32),
}

impl Selector<'_> {
    /// As arguments of the command line.
    fn arguments(self) -> Vec<String> {
        let one = |selector| ["-selector".to_owned(), selector];
        match self {
            Self::Kubernetes { namespace, service_account } => {
                let both = [one(format!("k8s:ns:{namespace}")), one(format!("k8s:sa:{service_account}"))];
                both.concat()
            }
            Self::User(user) => one(format!("unix:uid:{user}")).to_vec(),
        }
    }
}

/// The two programs, or what to do to have them.
pub fn binaries() -> Result<[PathBuf; 2]> {
    let find = |name: &str| match std::env::var_os(RINGWAY_SPIRE_BIN) {
        Some(folder) => {
            let path = PathBuf::from(folder).join(name);
            path.is_file().then_some(path).with_context(|| format!("{RINGWAY_SPIRE_BIN}: no {name} in it"))
        }
        None => find_program(name)
            .with_context(|| format!("no {name} in PATH, and {RINGWAY_SPIRE_BIN} is not set")),
    };
    Ok([find("spire-server")?, find("spire-agent")?])
}
