//! Redirection for targets that are no mesh proxies: what a client's application sends to another pod goes to port 15001
//! of its own. Nothing is redirected in the server's pod: its side of the target connects to the application over
//! loopback.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use testkit::process::Process;
use testkit::shell;

use crate::interrupt::wait_until;
use crate::site::{Pod, Site};

/// The targets' own packets leave for port 15008 and for no other, so they need no mark. No application listens there.
const RULES: &str = "*nat
-A OUTPUT -o eth0 -p tcp ! --dport 15008 -j REDIRECT --to-ports 15001
COMMIT
";

/// How long a target may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Redirects what leaves the clients' pods.
pub(super) fn install(site: &Site) -> Result<()> {
    site.clients.iter().try_for_each(|pod| {
        let mut restore = Command::new("iptables-restore");
        pod.netns()?.enter(|| shell::feed(restore.arg("--noflush"), RULES)).map(drop)
    })
}

/// Starts a process in a pod and waits until something listens on `port` there.
pub(super) fn start_listening(name: &str, pod: &Pod, command: &mut Command, port: u16) -> Result<Process> {
    let title = format!("{name}-{}", pod.name).replace(':', "-");
    let mut process = Process::start(&title, pod.netns()?, command)?;
    let table = format!("/proc/{}/net/tcp", process.pid());
    wait_until(&format!("{title} to listen on port {port}"), READY_TIMEOUT, || {
        process.expect_running()?;
        // Asking the kernel, not the port: a connection that nobody redirected would be an error to it.
        Ok(listens(&fs::read_to_string(&table)?, port).then_some(()))
    })?;
    Ok(process)
}

/// proc_net_tcp: number, local address, remote address, state, the last three in hexadecimal; 0A is LISTEN.
fn listens(table: &str, port: u16) -> bool {
    let local_port = format!(":{port:04X}");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, local, _, "0A"] if local.ends_with(&local_port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 00000000:3A99 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:3AA0 00000000:3A9E 01 00000000:00000000\n";
        assert!(listens(table, 15001));
        assert!(!listens(table, 15008) && !listens(table, 15006));
    }
}
