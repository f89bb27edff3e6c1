//! A lab with a proxy on every node: started, watched, killed, restarted.

pub mod config;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

pub use config::Extra;

use crate::lab::{Lab, Node, Pod};
use crate::process::{Process, wait_until};
use crate::proxy::{self, POD_PORTS, ProxyKind, ProxyOptions};
use crate::run::Run;
use crate::{redirect, shell};

/// How long a proxy may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a mesh is made of.
#[derive(Clone, Debug, Default)]
pub struct MeshOptions {
    /// The proxy of each node in order; nodes beyond the list have ringway.
    pub kinds: Vec<ProxyKind>,
    pub proxy: ProxyOptions,
    pub extra: Extra,
    /// RINGWAY_CA_DIR with what is in it; a new and empty one if not given.
    pub authority_directory: Option<PathBuf>,
}

/// What serves one node.
#[derive(Debug)]
struct NodeProxy {
    node: Arc<Node>,
    kind: ProxyKind,
    processes: Vec<Process>,
}

/// The lab and the running proxies.
#[derive(Debug)]
pub struct Mesh {
    // In the order in which they have to go: processes before the namespaces they run in.
    proxies: Vec<NodeProxy>,
    pub lab: Lab,
    authority_directory: PathBuf,
    directory: PathBuf,
    options: MeshOptions,
}

impl Mesh {
    /// ringway on every node, with defaults.
    pub fn ringway(lab: Lab) -> Result<Self> {
        Self::start(lab, MeshOptions::default())
    }

    /// Installs redirection, starts the proxies and waits until all are ready.
    pub fn start(lab: Lab, options: MeshOptions) -> Result<Self> {
        let run = Run::current()?;
        let directory = run.unique_directory("mesh")?;
        let given = options.authority_directory.clone();
        let authority_directory = given.map_or_else(|| run.unique_directory("authority"), Ok)?;
        if options.kinds.contains(&ProxyKind::Ztunnel) {
            proxy::borrow_ztunnel_authority(&authority_directory)?;
        }
        let nodes = lab.nodes().to_vec();
        let mut mesh = Self { proxies: Vec::new(), lab, authority_directory, directory, options };
        mesh.write_xds()?;
        for (at, node) in nodes.into_iter().enumerate() {
            let kind = mesh.options.kinds.get(at).copied().unwrap_or(ProxyKind::Ringway);
            config::write_pods(&mesh.pods_file(&node), &mesh.lab, &node)?;
            for pod in mesh.enrolled(&node) {
                mesh.install_redirect(kind, &pod)?;
            }
            let processes = mesh.start_processes(&node, kind)?;
            mesh.proxies.push(NodeProxy { node, kind, processes });
            // One after the other: the first makes the root certificate that the others then find.
            mesh.wait_ready(at)?;
        }
        Ok(mesh)
    }

    /// RINGWAY_CA_DIR: the root all proxies share.
    pub fn authority_directory(&self) -> &Path {
        &self.authority_directory
    }

    /// The local xDS file all proxies read.
    pub fn xds_file(&self) -> PathBuf {
        self.directory.join("local.yaml")
    }

    /// The pods file of a node.
    pub fn pods_file(&self, node: &Node) -> PathBuf {
        self.directory.join(format!("{}-pods.yaml", node.name))
    }

    /// Replaces services and policies; proxies that watch the file take them over.
    pub fn reconfigure(&mut self, extra: Extra) -> Result<()> {
        self.options.extra = extra;
        self.write_xds()
    }

    /// Adds an enrolled pod to a running mesh and waits until it is captured.
    pub fn enrol(&mut self, at: usize, spec: crate::lab::PodSpec) -> Result<Arc<Pod>> {
        let (node, kind) = (Arc::clone(&self.proxies[at].node), self.proxies[at].kind);
        let pod = self.lab.add_pod(&node, spec)?;
        self.write_xds()?;
        config::write_pods(&self.pods_file(&node), &self.lab, &node)?;
        self.install_redirect(kind, &pod)?;
        wait_captured(&pod)?;
        Ok(pod)
    }

    /// Takes a pod out of a running mesh; its namespace goes with the last who holds it.
    pub fn dismiss(&mut self, at: usize, pod: &Pod) -> Result<()> {
        let node = Arc::clone(&self.proxies[at].node);
        self.lab.remove_pod(pod);
        self.write_xds()?;
        config::write_pods(&self.pods_file(&node), &self.lab, &node)
    }

    /// The process that serves a node (the first, where each pod has one).
    pub fn process(&mut self, at: usize) -> &mut Process {
        &mut self.proxies[at].processes[0]
    }

    /// The process that serves a pod of a node.
    pub fn process_of(&mut self, at: usize, pod: &Pod) -> &mut Process {
        let pods = self.enrolled(&self.proxies[at].node);
        let own = pods.iter().position(|other| other.uid == pod.uid).unwrap_or_default();
        let processes = &mut self.proxies[at].processes;
        let last = processes.len() - 1;
        &mut processes[own.min(last)]
    }

    /// What all proxies have written, one after the other.
    pub fn written(&self) -> String {
        let processes = self.proxies.iter().flat_map(|proxy| &proxy.processes);
        processes.map(Process::written).collect()
    }

    /// SIGKILL to the proxies of a node.
    pub fn kill(&mut self, at: usize) -> Result<()> {
        self.proxies[at].processes.iter_mut().try_for_each(Process::kill)
    }

    /// SIGTERM to the proxy of a node, and its end.
    pub fn terminate(&mut self, at: usize, deadline: Duration) -> Result<ExitStatus> {
        let process = self.process(at);
        process.signal(Signal::SIGTERM)?;
        process.wait(deadline)
    }

    /// Starts the proxies of a node again after their end, and waits until they are ready.
    pub fn restart(&mut self, at: usize) -> Result<()> {
        let (node, kind) = (Arc::clone(&self.proxies[at].node), self.proxies[at].kind);
        self.proxies[at].processes = self.start_processes(&node, kind)?;
        self.wait_ready(at)
    }

    /// An error when any proxy has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        let mut processes = self.proxies.iter_mut().flat_map(|proxy| &mut proxy.processes);
        processes.try_for_each(Process::expect_running)
    }

    /// `ringway redirect ACTION --netns PATH` for a pod; what it wrote.
    pub fn redirect(&self, action: &str, pod: &Pod) -> Result<String> {
        let mut command = Command::new(self.options.proxy.ringway_binary()?);
        command.args(["redirect", action, "--netns"]).arg(pod.netns.path());
        shell::output(&mut command)
    }

    /// Installs redirection in a pod, the way the proxy's users do.
    fn install_redirect(&self, kind: ProxyKind, pod: &Pod) -> Result<()> {
        match kind {
            ProxyKind::Direct => Ok(()),
            ProxyKind::Ztunnel => redirect::install(&pod.netns),
            ProxyKind::Ringway => self.redirect("add", pod).map(drop),
        }
    }

    fn write_xds(&self) -> Result<()> {
        // ztunnel takes a workload without a trust domain for one of the empty trust domain.
        let trust_domain = self.options.kinds.contains(&ProxyKind::Ztunnel).then_some("cluster.local");
        config::write_xds(&self.xds_file(), &self.lab, trust_domain, &self.options.extra)
    }

    fn enrolled(&self, node: &Node) -> Vec<Arc<Pod>> {
        self.lab.pods_of(node).filter(|pod| pod.spec.enrolled).cloned().collect()
    }

    fn start_processes(&self, node: &Node, kind: ProxyKind) -> Result<Vec<Process>> {
        let (options, xds) = (&self.options.proxy, self.xds_file());
        match kind {
            ProxyKind::Direct => Ok(Vec::new()),
            ProxyKind::Ringway => {
                let pods = self.pods_file(node);
                let mut command = options.ringway(node, &xds, &pods, &self.authority_directory)?;
                Ok(vec![Process::start(&format!("ringway-{}", node.name), &node.netns, &mut command)?])
            }
            ProxyKind::Ztunnel => {
                let start = |pod: &Arc<Pod>| {
                    let mut command = options.ztunnel(pod, &xds)?;
                    Process::start(&format!("ztunnel-{}", pod.spec.name), &pod.netns, &mut command)
                };
                self.enrolled(node).iter().map(start).collect()
            }
        }
    }

    /// Waits until the proxies of a node say that they are ready and its pods are captured.
    fn wait_ready(&mut self, at: usize) -> Result<()> {
        let pods = self.enrolled(&self.proxies[at].node);
        let NodeProxy { node, kind, processes } = &mut self.proxies[at];
        let places = match kind {
            ProxyKind::Direct => return Ok(()),
            ProxyKind::Ringway => vec![&node.netns],
            ProxyKind::Ztunnel => pods.iter().map(|pod| &pod.netns).collect(),
        };
        for (place, process) in places.into_iter().zip(processes) {
            let what = format!("the proxy in {} to be ready", place.name());
            wait_until(&what, READY_TIMEOUT, || {
                process.expect_running()?;
                Ok(place.enter(proxy::is_ready).then_some(()))
            })?;
        }
        pods.iter().try_for_each(|pod| wait_captured(pod))
    }
}

/// Waits until the three listeners are open in the pod.
pub fn wait_captured(pod: &Pod) -> Result<()> {
    wait_until(&format!("listeners in {}", pod.netns.name()), READY_TIMEOUT, || {
        let sockets = pod.netns.run("ss --tcp --listening --numeric --no-header")?;
        Ok(POD_PORTS.iter().all(|port| sockets.contains(&format!(":{port} "))).then_some(()))
    })
}

/// The topology of most tests: two nodes, each with one enrolled pod, `client` and `server`.
pub fn two_pods() -> Result<(Lab, Arc<Pod>, Arc<Pod>)> {
    let mut lab = Lab::new()?;
    let (one, two) = (lab.add_node()?, lab.add_node()?);
    let client = lab.add_pod(&one, crate::lab::PodSpec::new("client"))?;
    let server = lab.add_pod(&two, crate::lab::PodSpec::new("server"))?;
    Ok((lab, client, server))
}
