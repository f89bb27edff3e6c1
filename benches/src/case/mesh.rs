//! Decisions about a mesh of 10,000 workloads, and what a change of it costs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use engine::mesh::{
    Action, Clause, Decision, Identity, Inbound, IpFamilies, LoadBalancing, Locality, Match, NetworkAddress,
    NetworkMode, Policy, Protocol, Route, Rule, Scope, Service, ServiceName, Snapshot, StringMatch,
    TrustDomain, Values, Visibility, Workload, authorise, route,
};

use super::Work;

const WORKLOADS: u32 = 10_000;
const SERVICES: u32 = 500;
const NAMESPACES: u32 = 200;
/// Policies that apply to a workload of the mesh.
const POLICIES: u32 = 10;

/// Routes to one destination after the other.
pub(super) struct Routes {
    snapshot: Snapshot,
    source: Arc<Workload>,
    destination: fn(u32) -> SocketAddr,
    next: u32,
}

impl Routes {
    pub(super) fn to_workloads() -> Self {
        Self::to(|number| SocketAddr::new(workload_ip(number % WORKLOADS), 8080))
    }

    pub(super) fn to_services() -> Self {
        Self::to(|number| SocketAddr::new(service_ip(number % SERVICES), 80))
    }

    fn to(destination: fn(u32) -> SocketAddr) -> Self {
        Self { snapshot: mesh(), source: Arc::new(workload(0, 0)), destination, next: 0 }
    }
}

impl Work for Routes {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            let destination = (self.destination)(self.next);
            let route = route(&self.snapshot, &self.source, destination, draw(self.next));
            assert!(matches!(black_box(&route), Route::Hbone(_)), "all of the mesh wants HBONE: {route:?}");
            self.next = self.next.wrapping_add(1);
        }
    }
}

/// Judges connections to one workload after the other.
pub(super) struct Authorise {
    snapshot: Snapshot,
    workloads: Vec<Arc<Workload>>,
    peer: Identity,
    next: usize,
}

impl Authorise {
    pub(super) fn new() -> Self {
        let mut snapshot = mesh();
        for namespace in 0..NAMESPACES {
            (0..POLICIES).for_each(|number| snapshot.upsert_policy(Arc::new(policy(namespace, number))));
        }
        let workloads: Vec<_> =
            (0..WORKLOADS).filter_map(|number| snapshot.workload(&uid(number)).map(Arc::clone)).collect();
        Self { snapshot, workloads, peer: identity(POLICIES - 1), next: 0 }
    }
}

impl Work for Authorise {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            let workload = &self.workloads[self.next % self.workloads.len()];
            let inbound = Inbound {
                identity: Some(&self.peer),
                source: workload_ip(1),
                destination: SocketAddr::new(workload.ips[0], 8080),
                workload,
            };
            let verdict = authorise(&self.snapshot, &inbound);
            let allowed = matches!(black_box(&verdict).decision, Decision::Allow { policy: Some(_) });
            assert!(allowed, "the last policy allows it: {verdict:?}");
            self.next = self.next.wrapping_add(1);
        }
    }
}

/// Changes one workload after the other, as the control thread does, and takes the new snapshot as a shard does.
pub(super) struct Swap {
    /// The control thread's.
    known: Snapshot,
    /// The shard's.
    served: Arc<Snapshot>,
    changes: Vec<Arc<Workload>>,
    next: u32,
}

impl Swap {
    pub(super) fn new() -> Self {
        let known = mesh();
        let served = Arc::new(known.clone());
        Self { known, served, changes: Vec::new(), next: 0 }
    }
}

impl Work for Swap {
    fn prepare(&mut self, operations: usize) {
        self.changes.clear();
        for _ in 0..operations {
            // Every workload gets another capacity whenever its turn comes.
            let capacity = 2 + self.next / WORKLOADS;
            self.changes.push(Arc::new(workload(self.next % WORKLOADS, capacity)));
            self.next = self.next.wrapping_add(1);
        }
    }

    fn run(&mut self, operations: usize) {
        for change in self.changes.drain(..operations) {
            self.known.upsert_workload(change);
            let published = Arc::new(self.known.clone());
            let old = std::mem::replace(&mut self.served, published);
            assert!(self.served.has_the_policies_of(&old), "so that no connection is judged again");
            drop(old);
        }
        assert!(self.changes.is_empty());
    }
}

/// Evenly distributed, and the same for the same number (the finaliser of MurmurHash3).
fn draw(number: u32) -> u64 {
    let mut value = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

fn mesh() -> Snapshot {
    let mut snapshot = Snapshot::default();
    (0..SERVICES).for_each(|number| snapshot.upsert_service(Arc::new(service(number))));
    (0..WORKLOADS).for_each(|number| snapshot.upsert_workload(Arc::new(workload(number, 1))));
    snapshot
}

fn uid(number: u32) -> String {
    format!("Kubernetes//Pod/{}/pod-{number}", namespace(number % NAMESPACES))
}

fn namespace(number: u32) -> String {
    format!("namespace-{number}")
}

/// Of the service account that the policy of the same number allows.
fn identity(number: u32) -> Identity {
    let account = format!("account-{number}");
    Identity::new(&TrustDomain::new("cluster.local"), &namespace(number % NAMESPACES), &account)
}

fn workload_ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 0]) + number).into()
}

fn service_ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 96, 0, 0]) + number).into()
}

fn service_name(number: u32) -> ServiceName {
    let namespace = namespace(number % NAMESPACES);
    ServiceName::new(&namespace, &format!("service-{number}.{namespace}.svc.cluster.local"))
}

fn service(number: u32) -> Service {
    let key = service_name(number);
    Service {
        name: format!("service-{number}").into(),
        key,
        vips: vec![NetworkAddress::new(&"".into(), service_ip(number))],
        cidr_vips: Vec::new(),
        ports: BTreeMap::from([(80, 8080)]),
        subject_alt_names: Vec::new(),
        waypoint: None,
        weighted_waypoints: Vec::new(),
        load_balancing: LoadBalancing::default(),
        ip_families: IpFamilies::Any,
        canonical: false,
        visibility: Visibility::Public,
        unreadable: None,
    }
}

/// An endpoint of the service of the same number modulo their count.
fn workload(number: u32, capacity: u32) -> Workload {
    let service = number % SERVICES;
    Workload {
        uid: uid(number).into(),
        name: format!("pod-{number}").into(),
        identity: identity(number % NAMESPACES),
        network: "".into(),
        ips: vec![workload_ip(number)],
        hostname: "".into(),
        protocol: Protocol::Hbone,
        network_mode: NetworkMode::Standard,
        node: format!("node-{}", number % 200).into(),
        cluster_id: "Kubernetes".into(),
        locality: Locality { region: "eu".into(), zone: "eu-1".into(), subzone: "".into() },
        workload_name: format!("deployment-{service}").into(),
        workload_type: "deployment".into(),
        canonical_name: format!("deployment-{service}").into(),
        canonical_revision: "v1".into(),
        waypoint: None,
        network_gateway: None,
        application_tunnel: None,
        native_tunnel: false,
        unreadable: None,
        authorization_policies: Vec::new(),
        healthy: true,
        capacity,
        services: BTreeMap::from([(service_name(service), BTreeMap::from([(80, 8080)]))]),
    }
}

/// Of a namespace: the first denies what nobody sends, each of the others allows one service account.
fn policy(in_namespace: u32, number: u32) -> Policy {
    let (action, condition) = if number == 0 {
        let blocks =
            Values { any_of: vec!["192.0.2.0/24".parse().expect("invariant: a block")], none_of: Vec::new() };
        (Action::Deny, Match { source_ips: blocks, ..Match::default() })
    } else {
        let Identity { trust_domain, namespace, service_account } = identity(number);
        let principal = format!("{trust_domain}/ns/{namespace}/sa/{service_account}");
        let principals = Values { any_of: vec![StringMatch::Exact(principal.into())], none_of: Vec::new() };
        let ports = Values { any_of: vec![8080], none_of: Vec::new() };
        (Action::Allow, Match { principals, destination_ports: ports, ..Match::default() })
    };
    Policy {
        name: format!("policy-{number}").into(),
        namespace: namespace(in_namespace).into(),
        scope: Scope::Namespace,
        action,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![condition] }] }],
        dry_run: false,
    }
}
