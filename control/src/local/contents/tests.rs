#![allow(clippy::unwrap_used)]

mod errors;
mod fields;

use std::net::SocketAddr;

use engine::mesh::{Action, Route, Scope, Snapshot, TrustDomain, route};

use super::*;

fn settings() -> MeshSettings {
    MeshSettings {
        cluster_id: "east-1".into(),
        trust_domain: TrustDomain::new("mesh.test"),
        ..Default::default()
    }
}

fn read(text: &str) -> Contents {
    match Contents::parse("mesh.yaml", text, &settings()) {
        Ok(contents) => contents,
        Err(error) => panic!("{error}\n{text}"),
    }
}

fn applied(contents: &Contents) -> Snapshot {
    let mut snapshot = Snapshot::new(settings());
    for change in contents.changes_since(&Contents::default()) {
        snapshot.apply(change);
    }
    snapshot
}

/// Two pods, of which one is enrolled, each behind a service; the shape of ztunnel's own example.
const EXAMPLE: &str = r#"
# Comments are allowed.
workloads:
- uid: east//v1/Pod/shop/cart
  name: cart
  namespace: shop
  serviceAccount: cart
  workloadIps: ["10.0.0.1", "fd00::1"]
  protocol: HBONE
  node: node-1
  network: ""
  services:
    "shop/cart.example.com":
      80: 8080
- uid: east//v1/Pod/shop/legacy
  name: legacy
  namespace: shop
  serviceAccount: legacy
  workloadIps: ["10.0.0.2"]
  protocol: TCP
  services:
    "shop/legacy.example.com":
      80: 9090
policies:
  - action: Allow
    rules:
    - - - notDestinationPorts:
          - 9999
    name: not-9999
    namespace: shop
    scope: Namespace
    dryRun: false
services:
- name: cart
  namespace: shop
  hostname: cart.example.com
  vips:
    - /10.1.0.1
  ports:
    80: 8080
  subjectAltNames:
   - spiffe://mesh.test/ns/shop/sa/cart-v2
  canonical: true
- name: legacy
  namespace: shop
  hostname: legacy.example.com
  vips:
    - /10.1.0.2
  ports:
    80: 8080
  canonical: true
"#;

#[test]
fn the_example_routes_as_it_says() {
    let contents = read(EXAMPLE);
    assert!(contents.notes.is_empty());
    let snapshot = applied(&contents);
    let cart = snapshot.workload_of_pod("cart", "shop", "cart").unwrap();
    let to = |destination: &str| route(&snapshot, cart, destination.parse().unwrap(), 0);
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };

    let Route::Hbone(route) = to("10.1.0.1:80") else { panic!("the cart is enrolled") };
    assert_eq!((route.target, route.authority), (address("10.0.0.1:15008"), address("10.0.0.1:8080")));
    let identities: Vec<String> = route.identities.iter().map(ToString::to_string).collect();
    assert_eq!(identities, ["spiffe://mesh.test/ns/shop/sa/cart", "spiffe://mesh.test/ns/shop/sa/cart-v2"]);

    let Route::Passthrough { target, .. } = to("10.1.0.2:80") else { panic!("the legacy one is not") };
    assert_eq!(target, address("10.0.0.2:9090"), "the endpoint's own port");

    let policy = snapshot.policy("shop/not-9999").unwrap();
    assert_eq!((policy.scope, policy.action), (Scope::Namespace, Action::Allow));
    assert_eq!(policy.rules[0].clauses[0].matches[0].destination_ports.none_of, [9999]);
}

#[test]
fn endpoints_may_be_written_with_the_service() {
    let contents = read(
        r#"
workloads:
- {uid: own, name: own, namespace: shop, services: {shop/cart: {80: 1}}}
- {uid: new, name: new, namespace: shop}
- {uid: sick, name: sick, namespace: shop}
services:
- namespace: shop
  hostname: cart
  ports: {80: 8080}
  endpoints:
    own: {workloadUid: own, port: {80: 2}, status: Healthy}
    new: {workloadUid: new, port: {80: 3}, status: Healthy}
    sick: {workloadUid: sick, port: {}, status: Unhealthy}
    lost: {workloadUid: lost, port: {}, status: Healthy}
"#,
    );
    let ports = |index: usize| contents.workloads[index].services.get(&"shop/cart".parse().unwrap()).cloned();
    assert_eq!(ports(0), Some(BTreeMap::from([(80, 1)])), "what the workload says counts more");
    assert_eq!(ports(1), Some(BTreeMap::from([(80, 3)])));
    assert_eq!(ports(2), None, "an endpoint that is not healthy");
    assert_eq!(
        contents.notes,
        ["service shop/cart: its endpoint lost is ignored, for there is no such workload"]
    );
}

#[test]
fn a_name_that_nobody_can_prove_is_noted() {
    let contents = read("services: [{namespace: a, hostname: b, subjectAltNames: [example.com]}]");
    assert!(contents.services[&"a/b".parse().unwrap()].subject_alt_names.is_empty());
    assert_eq!(
        contents.notes,
        ["service a/b: subjectAltName is ignored, because `example.com` is not of the form spiffe://<trust \
          domain>/ns/<namespace>/sa/<service account>"]
    );
}

/// What a list of changes does, in short.
fn summary(changes: &[Change]) -> Vec<String> {
    let short = |change: &Change| match change {
        Change::UpsertWorkload(workload) => format!("+ workload {}", workload.uid),
        Change::RemoveWorkload(uid) => format!("- workload {uid}"),
        Change::UpsertService(service) => format!("+ service {}", service.key),
        Change::RemoveService(key) => format!("- service {key}"),
        Change::UpsertPolicy(policy) => format!("+ policy {}", policy.key()),
        Change::RemovePolicy(key) => format!("- policy {key}"),
    };
    changes.iter().map(short).collect()
}

#[test]
fn only_what_changed_is_a_change() {
    let policy = |name: &str, action: &str| {
        format!("{{name: {name}, namespace: shop, scope: Global, action: {action}, rules: []}}")
    };
    let of = |workloads: &str, services: &str, policies: &str| {
        read(&format!("workloads: [{workloads}]\nservices: [{services}]\npolicies: [{policies}]\n"))
    };
    let (a, b, c) = ("{uid: a, namespace: shop}", "{uid: b, namespace: shop}", "{uid: c, namespace: shop}");
    let (one, two) = ("{namespace: shop, hostname: one}", "{namespace: shop, hostname: two}");
    let before = of(
        &format!("{a}, {b}"),
        &format!("{one}, {two}"),
        &format!("{}, {}", policy("p", "Allow"), policy("q", "Allow")),
    );
    let after = of(
        &format!("{{uid: b, namespace: shop, capacity: 2}}, {c}, {a}"),
        "{namespace: shop, hostname: one, canonical: true}",
        &policy("q", "Deny"),
    );
    let everything = "+ policy shop/p; + policy shop/q; + service shop/one; + service shop/two; + workload a; + workload b";
    let forth = "+ policy shop/q; + service shop/one; + workload b; + workload c; - service shop/two; - policy shop/p";
    let back = "+ policy shop/p; + policy shop/q; + service shop/one; + service shop/two; + workload b; - workload c";
    let changes = |after: &Contents, before: &Contents| summary(&after.changes_since(before)).join("; ");
    assert_eq!(changes(&before, &Contents::default()), everything);
    assert_eq!(changes(&after, &before), forth);
    assert_eq!(changes(&before, &after), back);
    assert_eq!(changes(&after, &after), "");
}

#[test]
fn of_two_with_one_address_the_later_in_the_file_has_it_also_after_a_change() {
    let of = |capacity: u32| {
        read(&format!(
            "workloads:\n\
             - {{uid: a, namespace: shop, workloadIps: [10.0.0.1], capacity: {capacity}}}\n\
             - {{uid: b, namespace: shop, workloadIps: [10.0.0.1]}}\n\
             - {{uid: c, namespace: shop, workloadIps: [10.0.0.2]}}\n"
        ))
    };
    let (before, after) = (of(1), of(2));
    let mut snapshot = applied(&before);
    let owner =
        |snapshot: &Snapshot| snapshot.workload_by_ip("10.0.0.1".parse().unwrap()).unwrap().uid.to_string();
    assert_eq!(owner(&snapshot), "b");
    let changes = after.changes_since(&before);
    assert_eq!(summary(&changes), ["+ workload a", "+ workload b"]);
    for change in changes {
        snapshot.apply(change);
    }
    assert_eq!(snapshot.workload("a").unwrap().capacity, 2);
    assert_eq!(owner(&snapshot), "b", "as if the file had been read for the first time");
}
