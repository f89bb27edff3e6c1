//! What a tunnel's server answers: the status codes of the contract, and policies that change while it runs.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use testkit::authority::{Authority, Leaf, Validity};
use testkit::hostile::frames::{self, Answer};
use testkit::hostile::tls;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Extra, Mesh, MeshOptions};
use testkit::process::wait_until;
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};
use testkit::wire::HBONE_PORT;

use crate::needs;

const PORT: u16 = 8080;
/// How long a changed file may take to be in force.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(20);

struct Scene {
    mesh: Mesh,
    leaf: Leaf,
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
        let leaf = authority.issue(&["spiffe://cluster.local/ns/default/sa/client"], Validity::Now).unwrap();
        let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
        Self { mesh, leaf, outsider, server, _echo: echo }
    }

    /// The answer to a request with these fields, on a tunnel of its own.
    fn ask(&self, fields: &[(&str, &str)]) -> Answer {
        let stream = connect(&self.outsider.netns, (self.server.ipv4, HBONE_PORT)).unwrap();
        let mut tls = tls::connect(stream, Some(&self.leaf)).unwrap();
        tls.write_all(&[frames::opening(), frames::request(1, fields)].concat()).unwrap();
        tls.flush().unwrap();
        frames::answer(&mut tls, 1).unwrap()
    }

    fn connect_to(&self, authority: &str) -> Answer {
        self.ask(&[(":method", "CONNECT"), (":authority", authority)])
    }
}

#[test]
fn requests_are_answered_as_the_contract_says() {
    needs!(Ringway);
    let mut scene = Scene::new();
    let own = scene.server.ipv4;
    let table = [
        ("the application", format!("{own}:{PORT}"), 200),
        ("another pod's address", format!("{}:{PORT}", scene.outsider.ipv4), 400),
        ("no port", own.to_string(), 400),
        ("a port nobody listens on", format!("{own}:9999"), 503),
        ("our own outbound port", format!("{own}:15001"), 503),
        ("our own inbound port", format!("{own}:15006"), 503),
        ("our own tunnel port", format!("{own}:15008"), 503),
        ("a name nobody knows", format!("nowhere.example:{PORT}"), 503),
    ];
    for (what, authority, status) in &table {
        assert_eq!(scene.connect_to(authority), Answer::Status(*status), "{what}: {authority}");
    }
    // RFC 9113 §8.1.1: a malformed request may as well be a stream error, PROTOCOL_ERROR.
    let nonsense = scene.connect_to("::::");
    assert!(matches!(nonsense, Answer::Status(400) | Answer::Reset { code: 1 }), "nonsense: {nonsense:?}");
    let get = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a:80")];
    assert_eq!(scene.ask(&get), Answer::Status(400), "not a CONNECT");
    scene.mesh.expect_running().unwrap();
}

#[test]
fn a_policy_is_in_force_as_soon_as_it_is_read_and_gone_when_it_is_gone() {
    needs!(Ringway);
    let mut scene = Scene::new();
    let authority = format!("{}:{PORT}", scene.server.ipv4);
    assert_eq!(scene.connect_to(&authority), Answer::Status(200));
    let deny = "- name: no-client\n  namespace: default\n  scope: Namespace\n  action: Deny\n  rules:\n  - - - \
        principals:\n        - exact: cluster.local/ns/default/sa/client\n  dryRun: false";
    for (policies, status) in [(deny, 401), ("", 200)] {
        scene.mesh.reconfigure(Extra { policies: policies.to_owned(), ..Extra::default() }).unwrap();
        let answered = wait_until(&format!("status {status}"), RELOAD_TIMEOUT, || {
            Ok((scene.connect_to(&authority) == Answer::Status(status)).then_some(()))
        });
        answered.unwrap();
    }
}
