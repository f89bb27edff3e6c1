//! Small workloads, services and policies for the tests of this module.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::{
    Action, Clause, GatewayAddress, GatewayDestination, Identity, IpFamilies, LoadBalancing, Locality, Match,
    NetworkMode, Policy, Protocol, Rule, Scope, Service, ServiceName, TrustDomain, Visibility, Workload,
};

pub(super) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

pub(super) fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

/// A healthy HBONE workload of `shop` that has no address yet.
pub(crate) fn workload(uid: &str) -> Workload {
    Workload {
        uid: uid.into(),
        name: format!("{uid}-pod").into(),
        identity: Identity::new(&TrustDomain::new("cluster.local"), "shop", "cart"),
        network: "".into(),
        ips: Vec::new(),
        hostname: "".into(),
        protocol: Protocol::Hbone,
        network_mode: NetworkMode::Standard,
        node: "".into(),
        cluster_id: "".into(),
        locality: Locality::default(),
        workload_name: "".into(),
        workload_type: "deployment".into(),
        canonical_name: "".into(),
        canonical_revision: "".into(),
        waypoint: None,
        network_gateway: None,
        application_tunnel: None,
        native_tunnel: false,
        unreadable: None,
        authorization_policies: Vec::new(),
        healthy: true,
        capacity: 1,
        services: BTreeMap::new(),
    }
}

pub(super) fn workload_at(uid: &str, ip: &str) -> Workload {
    Workload { ips: vec![ip.parse().unwrap()], ..workload(uid) }
}

/// A workload that is an endpoint of a service, with its own port mapping there.
pub(super) fn endpoint_of(uid: &str, ip: &str, service: &str, ports: &[(u16, u16)]) -> Workload {
    let services = BTreeMap::from([(name(service), ports.iter().copied().collect())]);
    Workload { services, ..workload_at(uid, ip) }
}

/// A service by `namespace/hostname`, without addresses, port 80 to 8080.
pub(super) fn service(key: &str) -> Service {
    Service {
        name: key.into(),
        key: name(key),
        vips: Vec::new(),
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

pub(super) fn service_at(key: &str, vip: &str) -> Service {
    Service { vips: vec![vip.parse().unwrap()], ..service(key) }
}

/// A gateway by address, written `network/ip`.
pub(super) fn gateway(address: &str) -> GatewayAddress {
    GatewayAddress { destination: GatewayDestination::Address(address.parse().unwrap()), hbone_port: 15008 }
}

/// A policy that has no rules, and therefore matches nothing.
pub(crate) fn policy(name: &str, namespace: &str, scope: Scope, action: Action) -> Policy {
    Policy {
        name: name.into(),
        namespace: namespace.into(),
        scope,
        action,
        rules: Vec::new(),
        dry_run: false,
    }
}

/// A rule with one clause that has one match.
pub(crate) fn rule(condition: Match) -> Rule {
    Rule { clauses: vec![Clause { matches: vec![condition] }] }
}
