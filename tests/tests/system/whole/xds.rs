//! A mesh that an xDS server describes, as Cilium's agent does and as it should not (contract 2.4).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proto::security::{Action, Authorization, Clause, Match, Rule, Scope};
use proto::type_url::{ADDRESS, AUTHORIZATION};
use proto::workload::{NetworkAddress, Service, Workload};
use testkit::capture::Capture;
use testkit::lab::{Lab, Node, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::{of_policy, of_service, of_workload, pod, port, spoilt, workload};
use testkit::planes::xds_server::XdsServer;
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::traffic::server::{self, Server};
use testkit::traffic::{connect, read, transfer};
use testkit::wire::Wire;
use testkit::{pcap, proxy};

use crate::needs;

const PORT: u16 = 8080;
const EACH_WAY_BYTES: u64 = 300_000;

/// How long what the server says may take to be in force.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);

/// A client and a server in a mesh that an xDS server describes, and certificates from the same.
struct Driven {
    // Before what drives it.
    mesh: Mesh,
    plane: XdsServer,
    client: Arc<Pod>,
    server: Arc<Pod>,
}

impl Driven {
    fn start() -> Self {
        let (lab, client, server) = two_pods().unwrap();
        let plane = XdsServer::start().unwrap();
        plane.upsert(vec![pod(&client), pod(&server)]);
        let mesh = start(lab, plane.drives(ProxyOptions::default()));
        Self { mesh, plane, client, server }
    }

    fn node(&self, at: usize) -> Arc<Node> {
        Arc::clone(&self.mesh.lab.nodes()[at])
    }

    fn call(&self) {
        self.try_call().unwrap();
    }

    /// One connection, one exchange with an echo server.
    fn try_call(&self) -> std::io::Result<()> {
        let mut stream =
            connect(&self.client.netns, (self.server.ipv4, PORT)).map_err(std::io::Error::other)?;
        exchange(&mut stream)
    }

    fn echo(&self) -> Server {
        Server::start(&self.server.netns, PORT, server::Service::Echo).unwrap()
    }
}

fn start(lab: Lab, proxy: ProxyOptions) -> Mesh {
    Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() }).unwrap()
}

fn exchange(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"are you there?")?;
    stream.read_exact(&mut [0; 14])
}

/// What the proxy of a node knows.
fn config_dump(node: &Node) -> String {
    node.netns.run("curl --silent --fail http://127.0.0.1:15000/config_dump").unwrap()
}

fn wait_known(node: &Node, text: &str, known: bool) {
    let what = format!("{text} to be {}", if known { "known" } else { "forgotten" });
    wait_until(&what, CHANGE_TIMEOUT, || Ok((config_dump(node).contains(text) == known).then_some(())))
        .unwrap();
}

/// A pod of another node, which nobody talks to.
fn elsewhere(uid: &str) -> Workload {
    Workload {
        uid: uid.to_owned(),
        name: format!("pod-{uid}"),
        namespace: "elsewhere".to_owned(),
        service_account: "elsewhere".to_owned(),
        addresses: vec![vec![10, 77, 0, 1]],
        tunnel_protocol: 1,
        ..Workload::default()
    }
}

#[test]
fn a_server_on_a_unix_socket_drives_two_nodes() {
    needs!(Ringway);
    let driven = Driven::start();
    let _server = Server::start(&driven.server.netns, PORT, server::Service::Exchange).unwrap();
    let capture = Capture::of_pod(&driven.mesh.lab, &driven.server).unwrap();
    let stream = connect(&driven.client.netns, (driven.server.ipv4, PORT)).unwrap();
    transfer::exchange(&stream, EACH_WAY_BYTES).unwrap();
    let wire = Wire::new(&pcap::segments(&capture.stop().unwrap()).unwrap());
    let seen = wire.between(&driven.client.addresses(), &driven.server.addresses());
    assert!(seen.is_encrypted(2 * EACH_WAY_BYTES), "{seen}");

    driven.plane.wait_heard().unwrap();
    assert_eq!(driven.plane.opened(), 2, "one stream for each node");
    let heard = driven.plane.heard();
    let asked: Vec<&str> = heard
        .iter()
        .filter(|request| request.response_nonce.is_empty())
        .map(|request| &*request.type_url)
        .collect();
    assert_eq!(asked, [ADDRESS, AUTHORIZATION, ADDRESS, AUTHORIZATION]);
    assert!(heard.iter().all(|request| request.error_detail.is_none()));
    let id = &heard[0].node.as_ref().unwrap().id;
    assert_eq!(id, "ztunnel~1.1.1.1~.~.svc.cluster.local");
}

#[test]
fn a_server_behind_tls_with_a_root_that_is_no_authority() {
    needs!(Ringway);
    let (lab, client, server) = two_pods().unwrap();
    let mut plane = XdsServer::start().unwrap();
    plane.upsert(vec![pod(&client), pod(&server)]);
    for node in lab.nodes() {
        node.netns.run("ip link set lo up").unwrap();
        plane.listen_on(node).unwrap();
    }
    let options = plane.drives_over_tls(ProxyOptions::default()).unwrap();
    let driven = Driven { mesh: start(lab, options), plane, client, server };
    let _echo = driven.echo();
    driven.call();
    assert_eq!(driven.plane.opened(), 2);
}

#[test]
fn nothing_is_served_before_the_mesh_is_known() {
    needs!(Ringway);
    let (lab, client, server) = two_pods().unwrap();
    let plane = XdsServer::start().unwrap();
    plane.upsert(vec![pod(&client), pod(&server)]);
    plane.hold(true);
    let (node, options) = (Arc::clone(&lab.nodes()[0]), plane.drives(ProxyOptions::default()));
    let mesh = thread::scope(|scope| {
        let starting = scope.spawn(|| start(lab, options));
        plane.wait_opened(1).unwrap();
        assert!(!node.netns.enter(proxy::is_ready), "ready without a mesh");
        let open = client.netns.run("ss --tcp --listening --numeric --no-header").unwrap();
        assert!(!open.contains(":15001 "), "what is in the mesh is not known: {open}");
        plane.hold(false);
        starting.join().unwrap()
    });
    let driven = Driven { mesh, plane, client, server };
    let _echo = driven.echo();
    driven.call();
}

#[test]
fn what_went_away_while_disconnected_is_gone_after_the_policies() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let _echo = driven.echo();
    driven.plane.upsert(vec![of_workload(elsewhere("short-lived")), of_workload(elsewhere("long-lived"))]);
    let node = driven.node(0);
    wait_known(&node, "short-lived", true);
    let mut standing = connect(&driven.client.netns, (driven.server.ipv4, PORT)).unwrap();
    exchange(&mut standing).unwrap();

    driven.plane.stop();
    driven.plane.forget(&["short-lived"]);
    driven.plane.send_early(vec![of_workload(elsewhere("early"))]);
    driven.mesh.process(0).wait_for_line(&["no xDS stream"], CHANGE_TIMEOUT).unwrap();
    driven.call();
    assert!(config_dump(&node).contains("short-lived"), "stale is better than nothing");

    driven.plane.resume().unwrap();
    driven.plane.wait_opened(4).unwrap();
    wait_known(&node, "short-lived", false);
    let dump = config_dump(&node);
    assert!(dump.contains("long-lived") && dump.contains("early"), "{dump}");
    exchange(&mut standing).unwrap();
    driven.call();
    let heard = driven.plane.heard();
    let again = heard.iter().rev().find(|request| request.type_url == ADDRESS && request.node.is_some());
    let told = &again.unwrap().initial_resource_versions;
    assert_eq!(told.get("short-lived").map(String::as_str), Some(""), "what is known is told: {told:?}");
}

#[test]
fn streams_that_are_cut_are_opened_again_one_at_a_time() {
    needs!(Ringway);
    let driven = Driven::start();
    let _echo = driven.echo();
    for round in 1..=5 {
        driven.plane.cut();
        driven.plane.wait_opened(2 + 2 * round).unwrap();
        driven.plane.wait_heard().unwrap();
        driven.call();
    }
    assert_eq!(driven.plane.opened(), 12);
}

#[test]
fn a_bad_resource_is_refused_by_name_and_the_good_ones_apply() {
    needs!(Ringway);
    let driven = Driven::start();
    let wrong = Workload { addresses: vec![vec![1, 2, 3]], ..elsewhere("three-bytes") };
    driven.plane.blurt(vec![spoilt("spoilt"), of_workload(elsewhere("good")), of_workload(wrong)]);
    for at in [0, 1] {
        wait_known(&driven.node(at), "good", true);
    }
    driven.plane.wait_heard().unwrap();
    let refusals = driven.plane.refusals();
    assert_eq!(refusals.len(), 2, "one for each node: {refusals:?}");
    for refusal in refusals {
        assert!(refusal.contains("spoilt: ") && refusal.contains("three-bytes: "), "{refusal}");
        assert!(!refusal.contains("good"), "{refusal}");
    }
    assert_eq!(driven.plane.opened(), 2, "a refusal ends no stream");
}

#[test]
fn what_is_said_again_changes_nothing() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let _echo = driven.echo();
    let mut standing = connect(&driven.client.netns, (driven.server.ipv4, PORT)).unwrap();
    exchange(&mut standing).unwrap();
    let both = vec![pod(&driven.client), pod(&driven.server)];
    for _ in 0..10 {
        driven.plane.upsert(both.clone());
    }
    driven.plane.wait_heard().unwrap();
    driven
        .mesh
        .process(0)
        .wait_for_line(&["the mesh has changed", "changes=0", "repeated=2"], CHANGE_TIMEOUT)
        .unwrap();
    exchange(&mut standing).unwrap();
}

#[test]
fn the_later_of_two_that_claim_an_address_has_it() {
    needs!(Ringway);
    let driven = Driven::start();
    let _echo = driven.echo();
    driven.call();
    let ghost = Workload {
        uid: "ghost".to_owned(),
        service_account: "ghost".to_owned(),
        name: "ghost".to_owned(),
        ..workload(&driven.server)
    };
    driven.plane.blurt(vec![of_workload(ghost)]);
    wait_until("the ghost to have the address", CHANGE_TIMEOUT, || {
        Ok(driven.try_call().is_err().then_some(()))
    })
    .unwrap();
    driven.plane.upsert(vec![pod(&driven.server)]);
    wait_until("the pod to have it back", CHANGE_TIMEOUT, || Ok(driven.try_call().ok())).unwrap();
}

#[test]
fn a_policy_denies_and_lets_go() {
    needs!(Ringway);
    let driven = Driven::start();
    let _echo = driven.echo();
    let standing = connect(&driven.client.netns, (driven.server.ipv4, PORT)).unwrap();
    exchange(&mut standing.try_clone().unwrap()).unwrap();
    let port = Match { destination_ports: vec![PORT.into()], ..Match::default() };
    let policy = Authorization {
        name: "no-echo".to_owned(),
        namespace: "default".to_owned(),
        scope: Scope::Namespace.into(),
        action: Action::Deny.into(),
        rules: vec![Rule { clauses: vec![Clause { matches: vec![port] }] }],
        ..Authorization::default()
    };
    driven.plane.upsert_policies(vec![of_policy(&policy)]);
    standing.set_read_timeout(Some(CHANGE_TIMEOUT)).unwrap();
    assert_eq!(read(&standing, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(driven.try_call().is_err());
    driven.plane.remove_policies(&["default/no-echo"]);
    wait_until("the policy to be gone", CHANGE_TIMEOUT, || Ok(driven.try_call().ok())).unwrap();
}

#[test]
fn a_service_is_reached_by_its_address() {
    needs!(Ringway);
    let driven = Driven::start();
    let _echo = driven.echo();
    let vip = [10, 99, 0, 1];
    let service = Service {
        name: "echo".to_owned(),
        namespace: "default".to_owned(),
        hostname: "echo.default.svc.cluster.local".to_owned(),
        addresses: vec![NetworkAddress { address: vip.to_vec(), ..NetworkAddress::default() }],
        ports: port(80, PORT).ports,
        ..Service::default()
    };
    let mut endpoint = workload(&driven.server);
    endpoint.services.insert("default/echo.default.svc.cluster.local".to_owned(), port(80, PORT));
    driven.plane.upsert(vec![of_service(service), of_workload(endpoint)]);
    wait_known(&driven.node(0), "echo.default.svc.cluster.local", true);
    let mut stream = connect(&driven.client.netns, (std::net::Ipv4Addr::from(vip), 80)).unwrap();
    exchange(&mut stream).unwrap();
}

#[test]
fn a_pod_that_comes_and_goes() {
    needs!(Ringway);
    let mut driven = Driven::start();
    let late = driven.mesh.enrol(1, PodSpec::new("late")).unwrap();
    driven.plane.upsert(vec![pod(&late)]);
    wait_known(&driven.node(0), &late.uid, true);
    let _echo = Server::start(&late.netns, PORT, server::Service::Echo).unwrap();
    let mut stream = connect(&driven.client.netns, (late.ipv4, PORT)).unwrap();
    exchange(&mut stream).unwrap();
    driven.mesh.dismiss(1, &late).unwrap();
    driven.plane.remove(&[&late.uid]);
    for at in [0, 1] {
        wait_known(&driven.node(at), &late.uid, false);
    }
}
