#![allow(clippy::unwrap_used)]

use std::time::Duration;

use engine::mesh::Holder;
use engine::tls::Suites;
use tempfile::TempDir;

use super::*;
use crate::ca::Authority;
use crate::stand_in::mesh;

const MESH: &str = "
workloads:
- {uid: u1, name: client, namespace: shop, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, node: n1}
- uid: u2
  name: cart
  namespace: shop
  serviceAccount: cart
  workloadIps: [10.0.0.2]
  protocol: HBONE
  node: n2
  services: {shop/cart.shop.svc.cluster.local: {80: 8080}, bank/half.bank.svc.cluster.local: {}}
- {uid: u3, name: legacy, namespace: shop, serviceAccount: legacy, workloadIps: [10.0.0.3], protocol: TCP, node: n2}
- uid: u4
  name: bank
  namespace: bank
  serviceAccount: bank
  workloadIps: [10.0.0.4]
  protocol: HBONE
  authorizationPolicies: [bank/only-cart, bank/late]
  services: {bank/closed.bank.svc.cluster.local: {}, bank/half.bank.svc.cluster.local: {}}
- {uid: u6, name: late, namespace: shop, serviceAccount: late, workloadIps: [10.0.0.6], protocol: HBONE}
- {uid: u9, name: lost, namespace: shop, serviceAccount: lost, workloadIps: [10.0.0.9], protocol: HBONE, node: n1}
- {uid: u7, name: plain, namespace: shop, serviceAccount: plain, workloadIps: [10.0.0.7], protocol: TCP}
- {uid: u8, name: legacy, namespace: bank, serviceAccount: legacy, workloadIps: [10.0.0.8], protocol: TCP}
- {uid: u5, name: keyless, namespace: shop, serviceAccount: keyless, workloadIps: [10.0.0.5], protocol: HBONE}
services:
- {name: cart, namespace: shop, hostname: cart.shop.svc.cluster.local, vips: [/10.1.0.1], ports: {80: 8080}}
- {name: vault, namespace: bank, hostname: vault.bank.svc.cluster.local, vips: [/10.1.0.3], ports: {81: 8080, 82: 8080}}
- {name: twice, namespace: bank, hostname: twice.bank.svc.cluster.local, vips: [/10.1.0.4], ports: {80: 8080}}
- {name: twice, namespace: shop, hostname: a.example, vips: [/10.1.0.5], ports: {8000: 8080, 80: 8080, 79: 8080}}
- {name: nobody, namespace: shop, hostname: nobody.shop.svc.cluster.local, vips: [/10.1.0.2], ports: {80: 8080}}
- {name: closed, namespace: bank, hostname: closed.bank.svc.cluster.local, vips: [/10.1.0.6], ports: {80: 8080}}
- {name: half, namespace: bank, hostname: half.bank.svc.cluster.local, vips: [/10.1.0.7], ports: {80: 8080}}
policies:
- name: only-cart
  namespace: bank
  scope: WorkloadSelector
  action: Allow
  rules: [[[{principals: [{Exact: cluster.local/ns/shop/sa/cart}]}]]]
- name: late
  namespace: bank
  scope: WorkloadSelector
  action: Deny
  rules: [[[{principals: [{Exact: cluster.local/ns/shop/sa/legacy}]}]]]
  dryRun: true
";

/// Source, destination, outcome, and a step with what it says.
const CASES: &str = "\
shop/client | shop/cart:8080 | Encrypted | authorise | no policy stands against spiffe://
client | cart | Encrypted | certificate | of the destination, shop/cart: with the proxy of its node
10.0.0.1 | 10.0.0.2 | Encrypted | deliver | shop/cart gets it on port 80
shop/client | 10.0.0.2:8080 | Encrypted | certificate | of the source, shop/client: spiffe://cluster.local/ns/shop/sa/client, valid for 3
shop/client | cart.shop.svc.cluster.local | Encrypted | deliver | on port 8080
shop/client | cart.shop:80 | Encrypted | deliver | on port 8080
shop/client | 10.1.0.1:80 | Encrypted | route | through a tunnel to 10.0.0.2:15008
shop/client | shop/nobody | Refused | route | no healthy endpoint for port 80
shop/client | shop/cart.shop.svc.cluster.local:81 | Refused | route | has no port 81
shop/client | shop/legacy:80 | Plaintext | route | plaintext to 10.0.0.3:80
shop/client | 192.0.2.1:443 | Plaintext | route | is no workload of the mesh
shop/client | bank/bank:80 | Denied | authorise | none of them allows this one
shop/cart | bank/bank:80 | Encrypted | authorise | policy bank/only-cart allows spiffe://
shop/cart | bank/bank:80 | Encrypted | source | on node n2: the proxy there decides
shop/client | bank/bank:80 | Denied | policy | bank/only-cart (allows): does not describe
shop/client | bank/bank:80 | Denied | policy | bank/late (denies, in dry run): does not describe
192.0.2.1 | bank/bank:80 | Denied | authorise | a client without identity is denied
192.0.2.1 | shop/cart:80 | Plaintext | source | no workload of the mesh
192.0.2.1 | shop/cart.shop.svc.cluster.local | Plaintext | route | ask for the pod behind it
192.0.2.1 | bank/closed | Denied | authorise | every pod behind it refuses it: bank/bank
192.0.2.1 | bank/closed:81 | Plaintext | route | ask for the pod behind it
192.0.2.1 | bank/half | Plaintext | authorise | some of the pods behind it refuse it: bank/bank
client | [::1]:80 | Plaintext | route | [::1]:80 is the pod's own loopback
192.0.2.1 | 192.0.2.2:80 | Plaintext | route | the proxy is not involved
shop/keyless | shop/cart:80 | Refused | certificate | there is none for spiffe://
client | cart | Encrypted | deliver | on port 8080
client | cart.shop.svc | Encrypted | deliver | on port 8080
client | cart.shop.svc.cluster.local.:80 | Encrypted | deliver | on port 8080
bank/bank | cart:80 | Encrypted | route | through a tunnel to 10.0.0.2:15008
client | bank:80 | Denied | authorise | none of them allows this one
client | vault | Refused | route | no healthy endpoint for port 81
client | a.example | Refused | route | no healthy endpoint for port 80
client | [10.0.0.2]:8080 | Encrypted | deliver | on port 8080
shop/late | shop/cart:80 | Refused | pod | shop/late is not served yet (no such namespace)
shop/client | shop/late:80 | Refused | pod | shop/late is not served yet
shop/client | shop/plain:80 | Refused | pod | shop/plain is not served yet
shop/lost | shop/cart:80 | Plaintext | pod | nobody named its pod to this proxy
shop/lost | bank/bank:80 | Denied | authorise | a client without identity is denied
shop/client | shop/lost:80 | Refused | pod | nobody named shop/lost to this proxy
192.0.2.1 | shop/lost:80 | Plaintext | pod | no policy is asked
192.0.2.1 | shop/late:80 | Refused | pod | shop/late is not served yet
shop/client | 127.0.0.1:15008 | Refused | route | a port of the proxy itself
";

struct Scene {
    snapshot: Snapshot,
    pods: BTreeMap<Arc<str>, PodStatus>,
}

impl Scene {
    /// The pods `client`, `keyless`, `late` and `plain` are here; the first has a certificate, the last two no listeners.
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mut snapshot = mesh(MESH).await;
        let client: Identity = "spiffe://cluster.local/ns/shop/sa/client".parse().unwrap();
        let credentials = Authority::open(directory.path())
            .unwrap()
            .issue(&client, Duration::from_secs(3_600), Suites::default())
            .unwrap();
        snapshot.upsert_credentials(Holder::all_of(client), Arc::new(credentials));
        let pending = |name: &str| ["late", "plain"].contains(&name).then(|| "no such namespace".to_owned());
        let pod = |name: &str| PodStatus {
            name: name.into(),
            namespace: "shop".into(),
            service_account: name.into(),
            pending: pending(name),
            shared: false,
        };
        let pods = ["client", "keyless", "late", "plain"].map(|name| (name.into(), pod(name))).into();
        Self { snapshot, pods }
    }

    fn explain(&self, source: &str, destination: &str) -> Result<Explanation, Unclear> {
        let replay = Replay {
            snapshot: &self.snapshot,
            pods: &self.pods,
            node: Some("n1"),
            now: SystemTime::now(),
            entropy: 0,
        };
        replay.explain(source, destination).map(|(explanation, _)| explanation)
    }
}

#[tokio::test]
async fn each_connection_has_its_outcome_and_the_step_that_decides() {
    let scene = Scene::new().await;
    for line in CASES.lines() {
        let [source, destination, outcome, step, finding] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let explained = scene.explain(source, destination).unwrap();
        assert_eq!(format!("{:?}", explained.outcome), outcome, "{line}: {explained:#?}");
        let said = explained.steps.iter().any(|told| told.step == step && told.finding.contains(finding));
        assert!(said, "{line}: {explained:#?}");
        let stopped = ["Refused", "Denied"].contains(&outcome);
        assert_eq!(explained.steps.last().unwrap().cure.is_some(), stopped, "{line}");
    }
}

#[tokio::test]
async fn what_nobody_can_mean_is_told_with_what_could_be_meant() {
    let scene = Scene::new().await;
    let shop = "its namespace shop has cart, client, keyless, late, legacy, ...";
    let no_port = "is no port: write a number from 1 to 65535 behind the last colon, or nothing for 80";
    for (source, destination, expected) in [
        (
            "nobody",
            "10.0.0.1",
            "the mesh has no pod `nobody`: write namespace/name; its namespaces are bank, shop",
        ),
        ("shop/nowhere", "10.0.0.1", &format!("the mesh has no pod `shop/nowhere`: {shop}")),
        (
            "ship/client",
            "10.0.0.1",
            "the mesh has no pod `ship/client`: it has no namespace ship, but bank, shop",
        ),
        ("shop/client:80", "10.0.0.1", "a source has no port: leave `:80` out of `shop/client:80`"),
        ("10.0.0.1:80", "10.0.0.1", "a source has no port: leave `:80` out of `10.0.0.1:80`"),
        ("legacy", "10.0.0.1", "`legacy` can be bank/legacy or shop/legacy: write it with its namespace"),
        ("shop/client", "shop/cart:http", &format!("`http` in `shop/cart:http` {no_port}")),
        ("shop/client", "10.0.0.1:0", &format!("`0` in `10.0.0.1:0` {no_port}")),
        ("shop/client", "10.0.0.1:65536", &format!("`65536` in `10.0.0.1:65536` {no_port}")),
        ("shop/client", "[::1]:", &format!("`` in `[::1]:` {no_port}")),
        (
            "shop/client",
            "shop/nowhere:80",
            &format!("the mesh has neither a pod nor a service `shop/nowhere`: {shop}"),
        ),
        (
            "shop/client",
            "b.example:80",
            &format!("the mesh has neither a pod nor a service `b.example`: {shop}"),
        ),
        (
            "192.0.2.1",
            "twice",
            "`twice` can be bank/twice.bank.svc.cluster.local or shop/a.example: write it with its namespace",
        ),
    ] {
        assert_eq!(scene.explain(source, destination).unwrap_err().to_string(), expected);
    }
    let empty = Scene { snapshot: Snapshot::default(), pods: BTreeMap::new() };
    let error = empty.explain("shop/client", "10.0.0.1").unwrap_err().to_string();
    assert_eq!(error, "the mesh has no pod `shop/client`: it has nobody yet; see ringway status");
}
