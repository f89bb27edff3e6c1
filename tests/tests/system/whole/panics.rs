//! A control thread that panics while the shards serve.
//!
//! The fault comes from outside: the process is let start no more threads, as a container with a limit of tasks is, and
//! whoever resolves a name then, as a connection to the xDS server does, panics for want of one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use testkit::lab::{Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::pod;
use testkit::planes::xds_server::XdsServer;
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::task_limit::TaskLimit;
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};

use crate::needs;

const PORT: u16 = 8080;

/// How long a thread may take to be gone, and a control thread to be there again.
const PATIENCE: Duration = Duration::from_secs(40);

/// A client and a server, one on each node, whose proxies follow an xDS server by its name.
struct Driven {
    // Before what drives it.
    mesh: Mesh,
    _echo: Server,
    plane: XdsServer,
    client: Arc<Pod>,
    server: Arc<Pod>,
}

impl Driven {
    fn start() -> Self {
        let (lab, client, server) = two_pods().unwrap();
        let mut plane = XdsServer::start().unwrap();
        lab.nodes().iter().for_each(|node| plane.listen_on(node).unwrap());
        plane.upsert(vec![pod(&client), pod(&server)]);
        let proxy = plane.drives_over_tls(ProxyOptions::default()).unwrap();
        let proxy = proxy.environment("CONNECTION_TERMINATION_DEADLINE", "120s");
        let mesh = Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() }).unwrap();
        let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
        Self { mesh, _echo: echo, plane, client, server }
    }

    /// Lets the client's proxy start no more threads, once the last one that resolved a name is gone.
    fn exhaust(&mut self) -> TaskLimit {
        let process = self.mesh.process(0);
        let limit = TaskLimit::of(process).unwrap();
        let threads = format!("/proc/{}/task", process.pid());
        wait_until("idle threads to end", PATIENCE, || {
            let names =
                fs::read_dir(&threads)?.map(|thread| Ok(fs::read_to_string(thread?.path().join("comm"))?));
            let names = names.collect::<anyhow::Result<Vec<_>>>()?;
            Ok((!names.iter().any(|name| name.contains("tokio"))).then_some(()))
        })
        .unwrap();
        limit.exhaust().unwrap();
        limit
    }

    fn connect(&self, server: &Pod) -> TcpStream {
        let mut stream = connect(&self.client.netns, (server.ipv4, PORT)).unwrap();
        echo(&mut stream);
        stream
    }
}

fn echo(stream: &mut TcpStream) {
    stream.write_all(b"are you there?").unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
}

#[test]
fn a_control_thread_that_panics_is_restarted_while_the_shards_serve() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let mut standing = driven.connect(&driven.server);
    // The next run cannot begin before this file is back: until then it stays with one panic.
    let node = Arc::clone(&driven.mesh.lab.nodes()[0]);
    let pods = driven.mesh.pods_file(&node);
    let aside = pods.with_extension("aside");
    fs::rename(&pods, &aside).unwrap();
    let limit = driven.exhaust();
    driven.plane.cut();
    driven.mesh.process(0).wait_for_line(&["the control thread panicked"], PATIENCE).unwrap();
    driven.mesh.process(0).wait_for_line(&["the shards go on with what they know"], PATIENCE).unwrap();
    echo(&mut standing);
    drop(driven.connect(&driven.server));

    limit.lift().unwrap();
    let opened = driven.plane.opened();
    fs::rename(&aside, &pods).unwrap();
    driven.plane.wait_opened(opened + 1).unwrap();
    echo(&mut standing);
    // It follows the server and the pods of the node as before.
    let late = driven.mesh.enrol(0, PodSpec::new("late")).unwrap();
    driven.plane.upsert(vec![pod(&late)]);
    let _echo = Server::start(&late.netns, PORT, Service::Echo).unwrap();
    drop(driven.connect(&late));
    echo(&mut standing);
    let panics = driven.mesh.process(0).lines_with(&["the control thread panicked"]).len();
    assert_eq!(panics, 1);
    driven.mesh.expect_running().unwrap();
}

#[test]
fn the_third_panic_drains_and_ends_with_a_message() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let mut standing = driven.connect(&driven.server);
    let _limit = driven.exhaust();
    driven.plane.cut();
    let process = driven.mesh.process(0);
    process.wait_for_line(&["panicked 3 times in ten minutes; ending"], PATIENCE).unwrap();
    process.wait_for_line(&["draining"], PATIENCE).unwrap();
    assert_eq!(process.lines_with(&["the control thread panicked;"]).len(), 3);
    // What is open is carried to its end, and then the process ends.
    echo(&mut standing);
    drop(standing);
    let status = driven.mesh.process(0).wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1), "{}", driven.mesh.written());
}
