//! What the two proxies that speak HBONE have in common: the same rules, the same environment, the same probe.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use testkit::netns::Netns;
use testkit::process::Process;
use testkit::redirect;

use super::Standing;
use crate::interrupt::wait_until;
use crate::site::{Pod, Site};

/// How long a proxy may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The mark by which the rules in a pod know the proxy's own packets.
const PACKET_MARK: &str = "1337";

/// A proxy, with what both know in its environment and nothing of the caller's.
pub(super) fn command(binary: &Path, site: &Site, node: &str, worker_threads: u32) -> Command {
    let mut command = Command::new(binary);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    command.arg("proxy").env_clear().env("PATH", path);
    command.env("RUST_LOG", "info").env("CLUSTER_ID", "Kubernetes").env("NODE_NAME", node);
    command.env("LOCAL_XDS_PATH", site.xds_file()).env("PACKET_MARK", PACKET_MARK);
    command.env("ZTUNNEL_WORKER_THREADS", worker_threads.to_string());
    command.env("XDS_ADDRESS", "").env("CA_ADDRESS", "").env("ISTIO_META_DNS_CAPTURE", "false");
    command
}

/// A proxy for one pod, in its namespace.
pub(super) fn dedicated(binary: &Path, site: &Site, pod: &Pod, worker_threads: u32) -> Command {
    let mut command = command(binary, site, &pod.node, worker_threads);
    command.env("PROXY_MODE", "dedicated").env("PROXY_WORKLOAD_INFO", pod.workload_info());
    command
}

/// Redirects all pods and runs a proxy in each until it is ready. One after the other: what the first makes for all (an
/// authority's root) is there when the others look for it.
pub(super) fn start(name: &str, site: &Site, proxy: impl Fn(&Pod) -> Command) -> Result<Standing> {
    let start = |pod: &Pod| {
        redirect::install(pod.netns()?)?;
        start_ready(&format!("{name}-{}", pod.name), pod.netns()?, &mut proxy(pod))
    };
    let client_side = site.clients.iter().map(start).collect::<Result<_>>()?;
    let server_side = site.servers.iter().map(start).collect::<Result<_>>()?;
    Ok(Standing { client_side, server_side, ..Standing::of_pods(site) })
}

/// Redirects all pods and runs one proxy for all in the namespace of their node.
pub(super) fn start_node(name: &str, site: &Site, node: &Netns, proxy: &mut Command) -> Result<Standing> {
    site.pods().try_for_each(|pod| redirect::install(pod.netns()?))?;
    let client_side = vec![start_ready(&format!("{name}-node"), node, proxy)?];
    Ok(Standing { client_side, ..Standing::of_pods(site) })
}

fn start_ready(name: &str, netns: &Netns, proxy: &mut Command) -> Result<Process> {
    let title = name.replace(':', "-");
    let mut process = Process::start(&title, netns, proxy)?;
    wait_until(&format!("{title} to be ready"), READY_TIMEOUT, || {
        process.expect_running()?;
        Ok(netns.enter(testkit::proxy::is_ready).then_some(()))
    })?;
    Ok(process)
}
