//! What changes under open connections: policies, and certificates that are taken back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::authority::{Authority, Leaf, Validity};
use testkit::hostile::frames::{self, Answer};
use testkit::hostile::tls::{self, ClientStream};
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Extra, MeshOptions};
use testkit::proxy::ProxyOptions;
use testkit::run::Run;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, read};
use testkit::wire::HBONE_PORT;

use crate::needs;

const PORT: u16 = 8080;
const OTHER_PORT: u16 = 8081;

/// How long a changed file may take to be in force, and the log to tell of it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);

/// One exchange with an echo server.
fn echo(stream: &mut TcpStream) {
    stream.write_all(b"are you there?").unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
}

#[test]
fn a_policy_closes_the_open_connections_that_it_denies_and_no_others() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let denied_server = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let _other_server = Server::start(&server.netns, OTHER_PORT, Service::Echo).unwrap();
    let mut denied = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let mut other = connect(&client.netns, (server.ipv4, OTHER_PORT)).unwrap();
    echo(&mut denied);
    echo(&mut other);

    let policies = format!(
        "- name: no-{PORT}
  namespace: default
  scope: Namespace
  action: Deny
  rules: [[[{{destinationPorts: [{PORT}]}}]]]
  dryRun: false"
    );
    mesh.reconfigure(Extra { policies, ..Extra::default() }).unwrap();
    denied.set_read_timeout(Some(CHANGE_TIMEOUT)).unwrap();
    assert_eq!(read(&denied, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let line = mesh
        .process(1)
        .wait_for_line(&["connection complete", "due to policy change"], CHANGE_TIMEOUT)
        .unwrap();
    assert!(line.contains(&format!("dst.hbone_addr={}:{PORT}", server.ipv4)), "{line}");
    let ends = testkit::process::wait_until("the server to see it", CHANGE_TIMEOUT, || {
        Ok(Some(denied_server.ended_badly()).filter(|ends| !ends.is_empty()))
    });
    assert_eq!(ends.unwrap(), [ErrorKind::ConnectionReset]);
    echo(&mut other);
}

/// A tunnel to a pod, as the client that has this certificate.
fn tunnel(from: &Pod, to: &Pod, leaf: &Leaf) -> ClientStream {
    let stream = connect(&from.netns, (to.ipv4, HBONE_PORT)).unwrap();
    stream.set_read_timeout(Some(CHANGE_TIMEOUT)).unwrap();
    tls::connect(stream, Some(leaf)).unwrap()
}

/// The answer to a CONNECT to the echo server.
fn ask(tunnel: &mut ClientStream, stream: u32, to: &Pod) -> Answer {
    tunnel.write_all(&frames::connect(stream, &format!("{}:{PORT}", to.ipv4))).unwrap();
    tunnel.flush().unwrap();
    frames::answer(tunnel, stream).unwrap()
}

#[test]
fn a_revoked_certificate_ends_its_tunnel_and_makes_no_new_one() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let list = Run::current().unwrap().unique_directory("revocations").unwrap().join("crl.pem");
    let proxy = ProxyOptions::default().environment("CRL_PATH", &list.display().to_string());
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let authority = Authority::open(mesh.authority_directory()).unwrap();
    let issue = || authority.issue(&["spiffe://cluster.local/ns/default/sa/client"], Validity::Now).unwrap();
    let [good, bad] = [issue(), issue()];
    let [mut good_tunnel, mut bad_tunnel] = [&good, &bad].map(|leaf| {
        let mut tunnel = tunnel(&outsider, &server, leaf);
        tunnel.write_all(&frames::opening()).unwrap();
        assert_eq!(ask(&mut tunnel, 1, &server), Answer::Status(200));
        tunnel
    });

    std::fs::write(&list, authority.revoke(&[&bad]).unwrap()).unwrap();
    while let Ok(Some(_)) = frames::read(&mut bad_tunnel) {}
    let closed = "connection closed: peer certificate revoked by CRL";
    mesh.process(1).wait_for_line(&["connection complete", closed], CHANGE_TIMEOUT).unwrap();
    assert_eq!(ask(&mut good_tunnel, 3, &server), Answer::Status(200));

    let mut refused = tunnel(&outsider, &server, &bad);
    assert!(tls::is_refused(&mut refused).unwrap());
    mesh.process(1).wait_for_line(&["connection failed", "revoked by CRL"], CHANGE_TIMEOUT).unwrap();
    let mut again = tunnel(&outsider, &server, &good);
    again.write_all(&frames::opening()).unwrap();
    assert_eq!(ask(&mut again, 1, &server), Answer::Status(200));
}
