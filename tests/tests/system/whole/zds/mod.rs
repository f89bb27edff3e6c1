//! Pods that a node agent names: every row of the contract's tables that a proxy can get wrong, with real namespaces
//! and real traffic.

mod agent;
mod churn;
mod faults;
mod handover;
mod session;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::lab::{Lab, Node, Pod, PodSpec};
use testkit::mesh::config::{self, Extra};
use testkit::planes::node_agent::{Announcement, Connection, Enroller, NodeAgent};
use testkit::process::{Process, wait_until};
use testkit::proxy::{self, POD_PORTS, ProxyOptions};
use testkit::redirect;
use testkit::run::Run;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, connect_here};

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(60);

/// One node: a client and a server that are redirected, and a proxy that an agent is to tell of them.
struct Site {
    // In the order in which they have to go: processes before the namespaces they run in.
    proxy: Process,
    _echo: Server,
    client: Arc<Pod>,
    server: Arc<Pod>,
    node: Arc<Node>,
    lab: Lab,
    directory: PathBuf,
    authority: PathBuf,
    options: ProxyOptions,
}

impl Site {
    fn new() -> Self {
        let site = Self::unredirected();
        redirect::install(&site.client.netns).unwrap();
        redirect::install(&site.server.netns).unwrap();
        site
    }

    /// One whose agent has named both pods, and is told more of them by the test.
    fn announced() -> (Self, NodeAgent, Connection) {
        let site = Self::new();
        let agent = site.agent();
        let connection = agent.accept().unwrap();
        connection.announce(&site.pods()).unwrap();
        site.wait_ready(true);
        (site, agent, connection)
    }

    /// One whose agent does all that the real one does, and has enrolled both pods.
    fn enrolled() -> (Self, Enroller) {
        let (site, agent) = Self::with_enroller();
        agent.enrol(&site.client).unwrap();
        agent.enrol(&site.server).unwrap();
        site.wait_ready(true);
        (site, agent)
    }

    /// The same before it has enrolled any.
    fn with_enroller() -> (Self, Enroller) {
        let site = Self::unredirected();
        let agent = site.enroller();
        (site, agent)
    }

    fn enroller(&self) -> Enroller {
        Enroller::start(&self.directory.join("zds.sock")).unwrap()
    }

    /// Pods whose rules are the agent's business.
    fn unredirected() -> Self {
        Self::unredirected_with(ProxyOptions::default())
    }

    fn unredirected_with(options: ProxyOptions) -> Self {
        let mut lab = Lab::new().unwrap();
        let node = lab.add_node().unwrap();
        let [client, server] =
            ["client", "server"].map(|name| lab.add_pod(&node, PodSpec::new(name)).unwrap());
        let run = Run::current().unwrap();
        let directory = run.unique_directory("zds").unwrap();
        let authority = run.unique_directory("authority").unwrap();
        config::write_xds(&directory.join("local.yaml"), &lab, None, &Extra::default()).unwrap();
        let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
        let proxy = start(&options, &directory, &authority, &node);
        Self { proxy, _echo: echo, client, server, node, lab, directory, authority, options }
    }

    fn agent(&self) -> NodeAgent {
        NodeAgent::listen(&self.directory.join("zds.sock")).unwrap()
    }

    /// Another proxy on the same node.
    fn second(&self) -> Process {
        start(&self.options, &self.directory, &self.authority, &self.node)
    }

    fn pods(&self) -> [Announcement; 2] {
        [&self.client, &self.server].map(|pod| Announcement::of(pod).unwrap())
    }

    fn is_ready(&self) -> bool {
        self.node.netns.enter(proxy::is_ready)
    }

    fn wait_ready(&self, ready: bool) {
        let what = if ready { "readiness" } else { "readiness to end" };
        wait_until(what, PATIENCE, || Ok((self.is_ready() == ready).then_some(()))).unwrap();
    }

    /// A connection through the mesh that has exchanged something.
    fn connect(&self) -> TcpStream {
        let mut stream = connect(&self.client.netns, (self.server.ipv4, PORT)).unwrap();
        echo(&mut stream).unwrap();
        stream
    }
}

fn start(options: &ProxyOptions, directory: &Path, authority: &Path, node: &Node) -> Process {
    start_with(options, directory, authority, node, |_| {})
}

fn start_with(
    options: &ProxyOptions,
    directory: &Path,
    authority: &Path,
    node: &Node,
    change: impl FnOnce(&mut Command),
) -> Process {
    let mut command = options.ringway(node, &directory.join("local.yaml"), directory, authority).unwrap();
    command.env_remove("RINGWAY_PODS_PATH").env("INPOD_UDS", directory.join("zds.sock"));
    change(&mut command);
    Process::start("ringway", &node.netns, &mut command).unwrap()
}

/// One exchange with an echo server.
fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"are you there?")?;
    stream.read_exact(&mut [0; 14])
}

/// A new connection from a pod, which exchanges something.
fn call(client: &Pod, server: &Pod) -> Result<()> {
    client.netns.enter(|| {
        let mut stream = connect_here((server.ipv4, PORT).into())?;
        echo(&mut stream).context("the exchange")
    })
}

/// Which of the proxy's ports are open in a pod.
fn listening(pod: &Pod) -> Vec<u16> {
    let sockets = pod.netns.run("ss --tcp --listening --numeric --no-header").unwrap();
    POD_PORTS.into_iter().filter(|port| sockets.contains(&format!(":{port} "))).collect()
}

fn expect_captured(pod: &Pod) {
    assert_eq!(listening(pod), POD_PORTS, "{}", pod.spec.name);
}

fn expect_left(pod: &Pod) {
    assert!(listening(pod).is_empty(), "{}: {:?}", pod.spec.name, listening(pod));
}
