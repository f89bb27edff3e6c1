//! What the two copies of our own have in common: this program again, a process in each pod.

use std::process::Command;

use anyhow::{Context, Result};
use testkit::process::Process;

use super::{Standing, capture, program};
use crate::copy::{CAPTURE_PORT, TUNNEL_PORT};
use crate::record::Build;
use crate::site::{Pod, Site};

/// Starts a copy in every pod, the servers' first, with further arguments of the caller.
pub(super) fn start(kind: &str, site: &Site, arguments: &[String]) -> Result<Standing> {
    let server_side = site.servers.iter().map(|pod| start_one(kind, "server", pod, arguments));
    let server_side = server_side.collect::<Result<_>>()?;
    let client_side = site.clients.iter().map(|pod| start_one(kind, "client", pod, arguments));
    let client_side = client_side.collect::<Result<_>>()?;
    Ok(Standing { client_side, server_side, ..Standing::of_pods(site) })
}

/// One side, `client` or `server`.
pub(super) fn start_one(kind: &str, side: &str, pod: &Pod, arguments: &[String]) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["copy", kind, side]).args(arguments);
    let port = if side == "client" { CAPTURE_PORT } else { TUNNEL_PORT };
    capture::start_listening(kind, pod, &mut command, port)
}

/// This program's.
pub(super) fn build(notes: String) -> Result<Build> {
    let program = std::env::current_exe().context("finding this program")?;
    let version = format!("ringway-perf {}", env!("CARGO_PKG_VERSION"));
    Ok(Build { version, sha256: program::checksum(&program)?, notes })
}
