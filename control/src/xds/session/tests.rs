#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use engine::mesh::Action;

use super::*;

fn workload(uid: &str, ip: [u8; 4]) -> Any {
    let message = workload::Workload {
        uid: uid.to_owned(),
        name: format!("pod-{uid}"),
        namespace: "shop".to_owned(),
        addresses: vec![ip.to_vec()],
        tunnel_protocol: 1,
        ..Default::default()
    };
    address(address::Type::Workload(message))
}

fn address(of: address::Type) -> Any {
    let message = workload::Address { r#type: Some(of) };
    Any { type_url: type_url::ADDRESS.to_owned(), value: message.encode_to_vec() }
}

fn policy(name: &str, action: i32) -> Any {
    let message = security::Authorization {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        scope: 1,
        action,
        ..Default::default()
    };
    Any { type_url: type_url::AUTHORIZATION.to_owned(), value: message.encode_to_vec() }
}

fn resource(name: &str, version: &str, body: Any) -> Resource {
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(body),
        ..Default::default()
    }
}

/// A pod as Cilium's agent names it.
fn pod(uid: &str) -> Resource {
    resource(uid, "", workload(uid, [10, 0, 0, 1]))
}

/// A session, and the snapshot that its changes made.
struct Mesh {
    session: Session,
    snapshot: Snapshot,
    refused: Vec<String>,
    synced: bool,
}

impl Mesh {
    fn new() -> Self {
        Self::from(Snapshot::default())
    }

    fn from(snapshot: Snapshot) -> Self {
        let session = Session::new(MeshSettings::default(), &snapshot);
        let mut mesh = Self { session, snapshot, refused: Vec::new(), synced: false };
        mesh.reconnect();
        mesh
    }

    /// What the stream says of the versions that are known, addresses first.
    fn reconnect(&mut self) -> [BTreeMap<String, String>; 2] {
        self.session
            .begin(&Node::default())
            .map(|request| request.initial_resource_versions.into_iter().collect())
    }

    fn hear(&mut self, kind: Kind, resources: Vec<Resource>, removed: &[&str]) {
        let mut changes = Vec::new();
        for resource in resources {
            self.refused.extend(self.session.upsert(kind, resource, &mut changes).err());
        }
        for name in removed {
            self.session.remove(kind, name, &mut changes);
        }
        self.synced = self.session.answered(kind, &mut changes);
        for change in changes {
            self.snapshot.apply(change);
        }
    }

    fn addresses(&mut self, resources: Vec<Resource>, removed: &[&str]) {
        self.hear(Kind::Address, resources, removed);
    }

    fn policies(&mut self, resources: Vec<Resource>, removed: &[&str]) {
        self.hear(Kind::Authorization, resources, removed);
    }

    fn uids(&self) -> Vec<&str> {
        let mut uids: Vec<&str> = self.snapshot.workloads().map(|workload| &*workload.uid).collect();
        uids.sort_unstable();
        uids
    }

    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.snapshot.policies().map(|policy| policy.key().to_string()).collect();
        keys.sort_unstable();
        keys
    }
}

#[test]
fn a_stream_begins_with_addresses_and_asks_for_all_of_them() {
    let mut session = Session::new(MeshSettings::default(), &Snapshot::default());
    let node = Node { id: "ztunnel~1.1.1.1~.~.svc.cluster.local".to_owned(), ..Default::default() };
    let requests = session.begin(&node);
    assert_eq!(
        requests.each_ref().map(|request| &*request.type_url),
        ["type.googleapis.com/istio.workload.Address", "type.googleapis.com/istio.security.Authorization",]
    );
    for request in requests {
        assert_eq!(request.node.as_ref(), Some(&node));
        assert!(request.resource_names_subscribe.is_empty(), "everything");
        assert!(request.initial_resource_versions.is_empty(), "nothing is known");
        assert!(request.response_nonce.is_empty());
    }
}

#[test]
fn the_mesh_is_known_when_both_types_had_a_response() {
    let mut mesh = Mesh::new();
    mesh.addresses(vec![pod("a")], &[]);
    assert!(!mesh.synced);
    mesh.policies(vec![], &[]);
    assert!(mesh.synced);
    mesh.reconnect();
    mesh.addresses(vec![pod("a")], &[]);
    assert!(mesh.synced, "once and for all");
}

#[test]
fn removals_are_by_the_name_of_the_resource() {
    let service = workload::Service {
        namespace: "shop".to_owned(),
        hostname: "cart.shop.svc.cluster.local".to_owned(),
        ..Default::default()
    };
    let service = resource("shop/cart.shop.svc.cluster.local", "", address(address::Type::Service(service)));
    let other_name = resource("cluster//Pod/shop/web", "", workload("uid-of-web", [10, 0, 0, 2]));
    let mut mesh = Mesh::new();
    mesh.addresses(vec![pod("a"), other_name, service], &[]);
    mesh.policies(vec![resource("shop/allow", "", policy("allow", 0))], &[]);
    assert_eq!(mesh.uids(), ["a", "uid-of-web"]);
    assert_eq!(mesh.snapshot.services().count(), 1);
    assert_eq!(mesh.keys(), ["shop/allow"]);

    mesh.addresses(vec![], &["uid-of-web", "nobody"]);
    assert_eq!(mesh.uids(), ["a", "uid-of-web"], "that is a uid and no name");
    mesh.addresses(vec![], &["cluster//Pod/shop/web", "shop/cart.shop.svc.cluster.local", "a"]);
    assert!(mesh.uids().is_empty());
    assert_eq!(mesh.snapshot.services().count(), 0);
    mesh.policies(vec![], &["shop/allow"]);
    assert!(mesh.keys().is_empty());
}

#[test]
fn a_resource_that_becomes_another_one_is_no_longer_what_it_was() {
    let mut mesh = Mesh::new();
    mesh.addresses(vec![resource("a", "1", workload("uid-1", [10, 0, 0, 1]))], &[]);
    mesh.addresses(vec![resource("a", "2", workload("uid-2", [10, 0, 0, 1]))], &[]);
    assert_eq!(mesh.uids(), ["uid-2"]);
}

#[test]
fn workloads_without_uid_and_name_are_known_by_their_address() {
    let mut mesh = Mesh::new();
    let nameless = |last| resource("", "", workload("", [10, 0, 0, last]));
    mesh.addresses(vec![nameless(1), nameless(2)], &[]);
    assert_eq!(mesh.uids(), ["10.0.0.1", "10.0.0.2"]);
    mesh.policies(vec![], &[]);
    mesh.reconnect();
    mesh.addresses(vec![nameless(2)], &[]);
    mesh.policies(vec![], &[]);
    assert_eq!(mesh.uids(), ["10.0.0.2"]);
}

/// Cilium's agent: no versions, everything again, not a word about what went away (contract 2.4).
#[test]
fn what_a_server_without_versions_does_not_name_again_is_gone_when_its_policies_come() {
    let mut mesh = Mesh::new();
    mesh.addresses(vec![pod("a"), pod("b"), pod("c")], &[]);
    mesh.policies(vec![resource("shop/old", "", policy("old", 0))], &[]);

    let [addresses, policies] = mesh.reconnect();
    let named = ["a", "b", "c"].map(|name| (name.to_owned(), String::new()));
    assert_eq!(addresses, BTreeMap::from(named));
    assert_eq!(policies.keys().collect::<Vec<_>>(), ["shop/old"]);
    assert_eq!(mesh.uids(), ["a", "b", "c"], "nothing is gone while there is no stream");

    mesh.addresses(vec![pod("d")], &[]);
    assert_eq!(mesh.uids(), ["a", "b", "c", "d"], "an event that waited is not the snapshot");
    mesh.addresses(vec![pod("a"), pod("d")], &[]);
    mesh.addresses(vec![pod("c")], &[]);
    assert_eq!(mesh.uids(), ["a", "b", "c", "d"], "the snapshot can't be told from what came before it");
    mesh.policies(vec![resource("shop/new", "", policy("new", 0))], &[]);
    assert_eq!(mesh.uids(), ["a", "c", "d"]);
    assert_eq!(mesh.keys(), ["shop/new"]);

    mesh.policies(vec![], &[]);
    mesh.addresses(vec![], &[]);
    assert_eq!(mesh.uids(), ["a", "c", "d"], "later responses are changes");
    assert_eq!(mesh.keys(), ["shop/new"]);
}

/// Istio's server: it passes over what we said we have, and names what was removed meanwhile.
#[test]
fn what_was_announced_with_its_version_stays_until_it_is_removed_by_name() {
    let versioned = |uid: &str, version: &str| resource(uid, version, workload(uid, [10, 0, 0, 1]));
    let mut mesh = Mesh::new();
    mesh.addresses(vec![versioned("a", "1"), versioned("b", "2"), versioned("c", "3")], &[]);
    mesh.policies(vec![resource("shop/p", "7", policy("p", 0))], &[]);
    mesh.addresses(vec![versioned("a", "4")], &[]);

    let [addresses, policies] = mesh.reconnect();
    let told =
        [("a", "4"), ("b", "2"), ("c", "3")].map(|(name, version)| (name.to_owned(), version.to_owned()));
    assert_eq!(addresses, BTreeMap::from(told));
    assert_eq!(policies["shop/p"], "7");
    mesh.addresses(vec![versioned("d", "5")], &["b"]);
    mesh.policies(vec![], &[]);
    assert_eq!(mesh.uids(), ["a", "c", "d"]);
    assert_eq!(mesh.keys(), ["shop/p"]);
}

#[test]
fn policies_before_the_first_addresses_drop_no_address() {
    let mut mesh = Mesh::new();
    mesh.addresses(vec![pod("a"), pod("b")], &[]);
    mesh.policies(vec![], &[]);
    mesh.reconnect();
    mesh.policies(vec![], &[]);
    assert_eq!(mesh.uids(), ["a", "b"], "a server that answers out of order");
    mesh.addresses(vec![pod("b")], &[]);
    assert_eq!(mesh.uids(), ["b"]);
}

#[test]
fn a_refused_resource_stays_what_it_was_and_is_not_remembered() {
    let mut mesh = Mesh::new();
    let bad = |name: &str, version: &str| resource(name, version, workload(name, [10, 0, 0, 1]).truncated());
    mesh.addresses(vec![resource("a", "1", workload("a", [10, 0, 0, 1])), bad("b", "1"), pod("c")], &[]);
    assert_eq!(mesh.uids(), ["a", "c"], "the good ones apply");
    assert_eq!(mesh.refused.len(), 1);
    assert!(mesh.refused[0].starts_with("b: "), "{:?}", mesh.refused);

    mesh.addresses(vec![bad("a", "2"), bad("c", "")], &[]);
    assert_eq!(mesh.uids(), ["a", "c"]);
    mesh.policies(vec![], &[]);
    let [addresses, _] = mesh.reconnect();
    assert_eq!(addresses["a"], "1", "the server is to say version 2 again");
    assert!(!addresses.contains_key("b"));

    mesh.addresses(vec![bad("c", "")], &[]);
    mesh.policies(vec![], &[]);
    assert_eq!(mesh.uids(), ["a", "c"], "what is named is there, even if it cannot be read");
}

/// A service that is left out gives its addresses to nobody, and they are sent plaintext.
#[test]
fn a_service_that_was_never_read_has_one_in_its_place_that_refuses() {
    let mut mesh = Mesh::new();
    let odd = |version: &str, ip_families| {
        let message = workload::Service {
            namespace: "shop".to_owned(),
            hostname: "cart.example".to_owned(),
            addresses: vec![workload::NetworkAddress { address: vec![10, 1, 0, 1], ..Default::default() }],
            ip_families,
            ..Default::default()
        };
        resource("shop/cart.example", version, address(address::Type::Service(message)))
    };
    let told = |mesh: &Mesh| {
        let service = mesh.snapshot.service_by_hostname("cart.example", "shop").unwrap();
        service.unreadable.as_deref().map(str::to_owned)
    };
    mesh.addresses(vec![odd("1", 4)], &[]);
    assert!(told(&mesh).unwrap().contains("ip_families is 4"));
    mesh.addresses(vec![odd("2", 1)], &[]);
    assert_eq!(told(&mesh), None);
    mesh.addresses(vec![odd("3", 4)], &[]);
    assert_eq!(told(&mesh), None, "what was good stays");
}

/// A policy that is left out lets in everybody, and a workload that is not known is sent plaintext.
#[test]
fn what_was_never_read_has_something_in_its_place() {
    let mut mesh = Mesh::new();
    mesh.policies(vec![resource("shop/p", "1", policy("p", 9))], &[]);
    assert_eq!(mesh.keys(), ["shop/p"]);
    assert!(mesh.snapshot.policies().all(|policy| policy.action == Action::Allow && policy.rules.is_empty()));
    let odd = |version: &str| {
        let message = workload::Workload {
            uid: "a".to_owned(),
            addresses: vec![vec![10, 0, 0, 1]],
            tunnel_protocol: 9,
            ..Default::default()
        };
        resource("a", version, address(address::Type::Workload(message)))
    };
    mesh.addresses(vec![odd("1")], &[]);
    let unreadable = |mesh: &Mesh| mesh.snapshot.workloads().all(|workload| workload.unreadable.is_some());
    assert!(unreadable(&mesh));
    assert_eq!((mesh.uids(), mesh.refused.len()), (vec!["a"], 2));

    let [addresses, policies] = mesh.reconnect();
    assert_eq!((&*addresses["a"], &*policies["shop/p"]), ("", ""), "the server is to say them again");
    mesh.addresses(vec![resource("a", "2", workload("a", [10, 0, 0, 1]))], &[]);
    mesh.policies(vec![resource("shop/p", "2", policy("p", 1))], &[]);
    assert!(!unreadable(&mesh));
    mesh.addresses(vec![odd("3")], &[]);
    mesh.policies(vec![resource("shop/p", "3", policy("p", 9))], &[]);
    assert!(!unreadable(&mesh), "what was good stays");
    assert!(mesh.snapshot.policies().all(|policy| policy.action == Action::Deny));
    mesh.addresses(vec![], &["a"]);
    mesh.policies(vec![], &["shop/p", ""]);
    assert!(mesh.uids().is_empty() && mesh.keys().is_empty());
}

#[test]
fn an_answer_takes_a_response_or_names_what_was_refused() {
    let url = type_url::ADDRESS.to_owned();
    let ack = answer(url.clone(), "nonce".to_owned(), &Refusals::default());
    assert_eq!((&*ack.type_url, &*ack.response_nonce, ack.error_detail), (&*url, "nonce", None));
    assert!(ack.node.is_none() && ack.initial_resource_versions.is_empty());

    let mut refusals = Refusals::default();
    refusals.add("a: bad".to_owned());
    refusals.add("b: worse".to_owned());
    let nack = answer(url, "nonce".to_owned(), &refusals);
    let detail = nack.error_detail.unwrap();
    assert_eq!((detail.code, &*detail.message), (0, "a: bad; b: worse"));
    assert_eq!(nack.response_nonce, "nonce");

    for number in 0..2_000 {
        refusals.add(format!("{number}: {}", "x".repeat(10_000)));
    }
    let text = refusals.text().unwrap();
    assert!(text.ends_with("and 1746 more"), "{}", &text[text.len() - 40..]);
    assert!(text.len() < 256 * 520);
}

#[test]
fn a_body_of_another_type_is_refused() {
    let mut mesh = Mesh::new();
    let nothing = Resource { name: "nothing".to_owned(), ..Default::default() };
    let empty = address_of_nothing();
    mesh.addresses(vec![resource("policy", "", policy("p", 0)), nothing, resource("empty", "", empty)], &[]);
    assert_eq!(
        mesh.refused,
        [
            "policy: a type.googleapis.com/istio.security.Authorization is in it",
            "nothing: there is nothing in it",
            "empty: it is neither a workload nor a service",
        ]
    );
}

fn address_of_nothing() -> Any {
    let message = workload::Address { r#type: None };
    Any { type_url: type_url::ADDRESS.to_owned(), value: message.encode_to_vec() }
}

#[test]
fn a_run_goes_on_from_the_snapshot_of_the_one_before() {
    let mut first = Mesh::new();
    first.addresses(vec![resource("a", "1", workload("a", [10, 0, 0, 1])), pod("b")], &[]);
    first.addresses(vec![resource("name-of-c", "", workload("c", [10, 0, 0, 3]))], &[]);
    first.policies(vec![resource("shop/p", "1", policy("p", 0))], &[]);

    let mut second = Mesh::from(first.snapshot);
    let [addresses, policies] = second.reconnect();
    assert_eq!(addresses.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(addresses.values().chain(policies.values()).all(String::is_empty), "versions are not known");
    second.addresses(vec![pod("b"), resource("name-of-c", "", workload("c", [10, 0, 0, 3]))], &[]);
    second.policies(vec![], &[]);
    assert_eq!(second.uids(), ["b", "c"], "c is named by another name");
    assert!(second.keys().is_empty());
}

trait Truncated {
    fn truncated(self) -> Self;
}

impl Truncated for Any {
    /// A body that was cut off.
    fn truncated(mut self) -> Self {
        self.value.pop();
        self
    }
}
