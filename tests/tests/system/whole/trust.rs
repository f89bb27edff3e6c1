//! Who is believed: certificates that must not pass, on either side of a tunnel.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use testkit::authority::{Authority, Leaf, Validity};
use testkit::hostile::ask::ask;
use testkit::hostile::frames::{self, Answer};
use testkit::hostile::impostor::Impostor;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions};
use testkit::process::wait_until;
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};
use testkit::wire::HBONE_PORT;

use crate::needs;

const PORT: u16 = 8080;
const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
/// How long a line may take from its cause to the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// A captured server, and a pod from where anything can be sent to it.
struct Scene {
    mesh: Mesh,
    authority: Authority,
    outsider: Arc<Pod>,
    server: Arc<Pod>,
    _echo: Server,
}

impl Scene {
    fn new() -> Self {
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
        let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
        let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
        let mesh = crate::start(lab, MeshOptions::default());
        let authority = Authority::open(mesh.authority_directory()).unwrap();
        let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
        Self { mesh, authority, outsider, server, _echo: echo }
    }

    /// Shakes hands and asks for the echo server; `None` when refused before an answer.
    fn ask(&self, leaf: Option<&Leaf>) -> Option<Answer> {
        let stream = connect(&self.outsider.netns, (self.server.ipv4, HBONE_PORT)).unwrap();
        ask(stream, leaf, &format!("{}:{PORT}", self.server.ipv4))
    }
}

#[test]
fn only_a_valid_certificate_of_this_mesh_is_served() {
    needs!(Ringway);
    let mut scene = Scene::new();
    let stranger = Authority::stranger().unwrap();
    let other_domain = "spiffe://other.example/ns/default/sa/client";
    let good = scene.authority.issue(&[CLIENT], Validity::Now).unwrap();
    let issue = |uris: &[&str], validity| scene.authority.issue(uris, validity).unwrap();
    // What is wrong, and the words of the log by which it is recognised.
    let table = [
        ("another trust domain", Some(issue(&[other_domain], Validity::Now)), "other.example"),
        ("an expired certificate", Some(issue(&[CLIENT], Validity::Expired)), "expired"),
        ("one of the future", Some(issue(&[CLIENT], Validity::NotYet)), "not yet valid"),
        ("no certificate", None, "certificate"),
        ("an unknown root", Some(stranger.issue(&[CLIENT], Validity::Now).unwrap()), "certificate"),
        ("no identity", Some(issue(&[], Validity::Now)), "SPIFFE"),
        ("two identities", Some(issue(&[CLIENT, other_domain], Validity::Now)), "SPIFFE"),
        ("no SPIFFE identity", Some(issue(&["https://cluster.local/client"], Validity::Now)), "SPIFFE"),
    ];
    for (what, leaf, words) in &table {
        assert_eq!(scene.ask(leaf.as_ref()), None, "{what} was answered");
        let line = scene.mesh.process(1).wait_for_line(&[words], LOG_TIMEOUT);
        line.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(scene.ask(Some(&good)), Some(Answer::Status(200)), "the right one was not");
    scene.mesh.expect_running().unwrap();
}

#[test]
fn plaintext_to_the_tunnel_port_is_closed_without_an_answer() {
    needs!(Ringway);
    let mut scene = Scene::new();
    let requests: [&[u8]; 3] = [&frames::opening(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"\0\0\0\0"];
    for request in requests {
        let mut stream = connect(&scene.outsider.netns, (scene.server.ipv4, HBONE_PORT)).unwrap();
        stream.write_all(request).unwrap();
        // The proxy may have closed it by now.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // The end may be a reset. A TLS alert (record type 21) is an answer that says nothing.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "{request:?} was answered {answer:?}");
    }
    scene.mesh.expect_running().unwrap();
}

#[test]
fn a_server_with_another_identity_is_sent_nothing() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server").impostor()).unwrap();
    let mesh = crate::start(lab, MeshOptions::default());
    let authority = Authority::open(mesh.authority_directory()).unwrap();
    let stranger = Authority::stranger().unwrap();
    let own = server.identity();
    let table = [
        ("another identity", authority.issue(&[CLIENT], Validity::Now).unwrap()),
        ("an expired certificate", authority.issue(&[&own], Validity::Expired).unwrap()),
        ("an unknown root", stranger.issue(&[&own], Validity::Now).unwrap()),
    ];
    for (what, leaf) in table {
        let impostor = Impostor::start(&server.netns, leaf).unwrap();
        let mut stream = connect(&client.netns, (server.ipv4, PORT)).unwrap();
        let _ = stream.write_all(b"secret");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "{what}");
        assert!(impostor.connections() > 0, "{what}: the proxy never tried");
        assert_eq!(impostor.requests(), 0, "{what}: it was sent a request");
    }
    // The same server with the right certificate is asked at once.
    let honest = Impostor::start(&server.netns, authority.issue(&[&own], Validity::Now).unwrap()).unwrap();
    let _stream = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let asked = wait_until("a request", LOG_TIMEOUT, || Ok((honest.requests() > 0).then_some(())));
    asked.unwrap();
}
