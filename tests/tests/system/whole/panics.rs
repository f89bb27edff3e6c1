//! A control thread that panics while the shards serve, and one that is let start no more threads.
//!
//! The faults come from outside: the wait for events that the thread is in fails, which its runtime panics for; and a limit
//! of tasks is reached, as a container has one.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use testkit::failed_wait::fail_wait;
use testkit::lab::{Node, Pod, PodSpec};
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

    /// Makes the control thread of the client's proxy panic, and waits until it has.
    fn panic(&mut self) {
        let process = self.mesh.process(0);
        let panics = || process.lines_with(&["the control thread panicked;"]).len();
        let before = panics();
        fail_wait(process, "control").unwrap();
        wait_until("the panic to be told", PATIENCE, || Ok((panics() > before).then_some(()))).unwrap();
    }

    /// Lets the client's proxy start no more threads.
    fn exhaust(&mut self) -> TaskLimit {
        let limit = TaskLimit::of(self.mesh.process(0)).unwrap();
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

/// What a scraper on the node is answered.
fn scrape(node: &Node) -> String {
    let mut stream = connect(&node.netns, (Ipv4Addr::LOCALHOST, 15020)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
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
    driven.panic();
    driven.mesh.process(0).wait_for_line(&["the shards go on with what they know"], PATIENCE).unwrap();
    echo(&mut standing);
    drop(driven.connect(&driven.server));

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
    for _ in 0..3 {
        driven.panic();
    }
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

#[test]
fn what_takes_a_thread_is_tried_again_where_there_is_none() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let node = Arc::clone(&driven.mesh.lab.nodes()[0]);
    let mut standing = driven.connect(&driven.server);
    let limit = driven.exhaust();
    driven.plane.cut();
    let told = ["cannot be resolved", "no thread can be started"];
    driven.mesh.process(0).wait_for_line(&told, PATIENCE).unwrap();
    let answer = scrape(&node);
    assert!(answer.contains(" 503 ") && answer.contains("raise the limit of processes"), "{answer}");
    echo(&mut standing);
    drop(driven.connect(&driven.server));

    let opened = driven.plane.opened();
    limit.lift().unwrap();
    driven.plane.wait_opened(opened + 1).unwrap();
    let answer = scrape(&node);
    assert!(answer.contains(" 200 ") && answer.contains("\nringway_ready 1\n"), "{answer}");
    echo(&mut standing);
    assert_eq!(driven.mesh.process(0).lines_with(&["panicked"]), [] as [String; 0]);
}
