//! Who is encrypted: the product's promise, seen on the wire. The twelve scenarios of Cilium's connectivity test.

use std::net::IpAddr;
use std::sync::Arc;

use testkit::capture::Capture;
use testkit::lab::{Lab, Node, Pod, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::pcap;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, pattern, transfer};
use testkit::wire::Wire;

use crate::needs;

const PORT: u16 = 8080;
const EACH_WAY_BYTES: u64 = 300_000;

/// The namespaces by the names of that test.
const ENROLLED: [&str; 2] = ["enrolled-0", "enrolled-1"];
const UNENROLLED: [&str; 2] = ["unenrolled-0", "unenrolled-1"];

fn add(lab: &mut Lab, node: &Node, role: &str, namespace: &str) -> Arc<Pod> {
    let spec = PodSpec::new(role).namespace(namespace);
    let spec = if ENROLLED.contains(&namespace) { spec } else { spec.not_enrolled() };
    lab.add_pod(node, spec).unwrap()
}

#[test]
fn every_pair_is_treated_as_the_table_says() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let namespaces = [ENROLLED, UNENROLLED].concat();
    let clients = [ENROLLED[0], UNENROLLED[0]].map(|namespace| add(&mut lab, &one, "client", namespace));
    let mut servers = Vec::new();
    for node in [&one, &two] {
        servers.extend(namespaces.iter().map(|namespace| add(&mut lab, node, "server", namespace)));
    }
    let mesh = crate::start(lab, MeshOptions::default());
    let _running: Vec<Server> =
        servers.iter().map(|pod| Server::start(&pod.netns, PORT, Service::Exchange).unwrap()).collect();
    let mut scenarios = 0;
    for client in &clients {
        for server in &servers {
            // Enrolment is a namespace's: a mixed pair has two, and one such pair stands for both.
            if client.spec.enrolled != server.spec.enrolled && server.spec.namespace.ends_with('1') {
                continue;
            }
            scenarios += 1;
            for family in 0..2 {
                let encrypted = client.spec.enrolled && server.spec.enrolled;
                let capture = Capture::of_pod(&mesh.lab, server).unwrap();
                let name = exchange(client, server, server.addresses()[family]);
                judge(&name, &capture.stop().unwrap(), client, server, encrypted);
            }
        }
    }
    assert_eq!(scenarios, 12);
}

/// Bytes both ways between two pods; the name of the scenario.
fn exchange(client: &Pod, server: &Pod, address: IpAddr) -> String {
    let name = format!(
        "{}@{} -> {}@{} {address}",
        client.spec.namespace, client.node_name, server.spec.namespace, server.node_name
    );
    let stream = connect(&client.netns, (address, PORT)).unwrap();
    transfer::exchange(&stream, EACH_WAY_BYTES).unwrap_or_else(|error| panic!("{name}: {error}"));
    name
}

fn judge(name: &str, file: &[u8], client: &Pod, server: &Pod, encrypted: bool) {
    let wire = Wire::new(&pcap::segments(file).unwrap());
    let seen = wire.between(&client.addresses(), &server.addresses());
    // The application's own bytes, wherever in the file they might be.
    let words = pattern::at(1000, 32);
    let is_readable = file.windows(words.len()).any(|bytes| bytes == words);
    if encrypted {
        assert!(seen.is_encrypted(2 * EACH_WAY_BYTES) && !is_readable, "{name}: {seen}");
    } else {
        assert!(seen.is_plain(PORT, 2 * EACH_WAY_BYTES) && is_readable, "{name}: {seen}");
    }
}

#[test]
fn the_wire_between_the_nodes_carries_only_tunnels_between_enrolled_pods() {
    needs!(Ringway);
    let (mesh, client, server) = crate::start_two_pods();
    let _server = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    let nodes = mesh.lab.nodes();
    let capture = Capture::of_uplink(&nodes[0], &nodes[1]).unwrap();
    exchange(&client, &server, server.ipv4.into());
    exchange(&client, &server, server.ipv6.into());
    let wire = capture.finish().unwrap();
    assert!(wire.flows.iter().all(|flow| flow.is_tunnel()), "{:?}", wire.flows);
    assert!(wire.between(&client.addresses(), &server.addresses()).is_encrypted(4 * EACH_WAY_BYTES));
}

#[test]
fn without_its_proxy_an_enrolled_pod_is_never_reached_in_plaintext() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let running = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    let capture = Capture::of_pod(&mesh.lab, &server).unwrap();
    mesh.kill(1).unwrap();
    // The client's side either refuses the connection or ends it; what it must not do is pass it on.
    if let Ok(stream) = connect(&client.netns, (server.ipv4, PORT)) {
        transfer::exchange(&stream, EACH_WAY_BYTES).unwrap_err();
    }
    mesh.kill(0).unwrap();
    connect(&client.netns, (server.ipv4, PORT)).unwrap_err();
    let seen = capture.finish().unwrap().between(&client.addresses(), &server.addresses());
    assert_eq!((seen.plain_bytes, running.accepted()), (0, 0), "{seen}");
}
