//! Whose roots count: those of an authority above the real SPIRE's own, and those of other trust domains.

use std::time::Duration;

use testkit::authority::{Authority, Leaf, Validity};
use testkit::hostile::ask::ask;
use testkit::hostile::frames::Answer;
use testkit::lab::{Lab, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::run::Run;
use testkit::spire::{Attest, Selector, SpireOptions, SpireServer};
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};
use testkit::wire::HBONE_PORT;

use super::real::{AGREED_TIMEOUT, ECHO_PORT, Scene};
use crate::needs;

/// Leaf, SPIRE's own authority, the one above it, and a root that neither of them holds.
#[test]
fn an_authority_above_that_of_spire_is_the_one_that_counts() {
    needs!(Spire);
    let upstream = Run::current().unwrap().unique_directory("upstream").unwrap();
    Authority::stranger().unwrap().create_upstream(&upstream).unwrap();
    let svid_ttl = Duration::from_secs(20);
    let mut scene =
        Scene::new(SpireOptions { svid_ttl, upstream: Some(upstream), ..SpireOptions::default() });
    scene.talk();
    let steady = scene.steady();
    // Its successor is below the same root, and what both sign is valid side by side.
    scene.spire.rotate_authority().unwrap();
    let before = scene.obtained();
    for (at, before) in before.into_iter().enumerate() {
        scene.wait_for_lines(at, &["certificate obtained"], before + 3);
    }
    let made = steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
    for at in [0, 1] {
        assert_eq!(
            scene.mesh.process(at).lines_with(&["the roots have changed", "roots=2"]),
            [] as [&str; 0]
        );
    }
    println!("{made}, below one root");
}

#[test]
fn peers_of_other_trust_domains_are_served_as_far_as_they_are_configured() {
    needs!(Spire);
    // Another SPIRE, an authority of another make, and one that SPIRE is federated with and the proxies are not.
    let east = SpireServer::of_trust_domain("east.example", &SpireOptions::default()).unwrap();
    let (west, north) = (Authority::stranger().unwrap(), Authority::stranger().unwrap());
    let spire = SpireServer::start(&SpireOptions::default()).unwrap();
    spire.trust("east.example", &east.roots().unwrap()).unwrap();
    spire.trust("west.example", west.root_pem()).unwrap();
    spire.trust("north.example", north.root_pem()).unwrap();
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let selector = Selector::Kubernetes {
        namespace: &server.spec.namespace,
        service_account: &server.spec.service_account,
    };
    let federated = ["east.example", "west.example", "north.example"].map(|name| format!("spiffe://{name}"));
    let federated = federated.each_ref().map(String::as_str);
    spire.register_federated("server", &server.identity(), selector, &federated).unwrap();
    let agent = spire.start_agent("agent").unwrap();
    let proxy = agent.serve(ProxyOptions::default(), &Attest::Selectors);
    let proxy = proxy.environment("RINGWAY_SPIRE_FEDERATED_TRUST_DOMAINS", "east.example,west.example");
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();

    let ask = |leaf: &Leaf| {
        let stream = connect(&outsider.netns, (server.ipv4, HBONE_PORT)).unwrap();
        ask(stream, Some(leaf), &format!("{}:{ECHO_PORT}", server.ipv4))
    };
    let name = |trust_domain: &str| format!("spiffe://{trust_domain}/ns/shop/sa/cart");
    let [chain, key] = east.mint(&name("east.example")).unwrap();
    let minted = Leaf::from_pem(&chain, &key).unwrap();
    let served = || Ok((ask(&minted) == Some(Answer::Status(200))).then_some(()));
    let waited = wait_until("a peer of the other SPIRE to be served", AGREED_TIMEOUT, served);
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", mesh.written()));
    let issue =
        |authority: &Authority, trust_domain| authority.issue(&[&name(trust_domain)], Validity::Now).unwrap();
    let table = [
        ("west", &west, "west.example", Some(Answer::Status(200))),
        ("north, which is not configured", &north, "north.example", None),
        ("west, in our name", &west, "cluster.local", None),
        ("west, in the name of east", &west, "east.example", None),
    ];
    for (who, authority, trust_domain, answer) in table {
        assert_eq!(ask(&issue(authority, trust_domain)), answer, "{who}\n{}", mesh.written());
    }
    mesh.expect_running().unwrap();
}
