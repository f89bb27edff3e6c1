#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::super::fixture::{endpoint_of, gateway, service, workload};
use super::super::{IpFamilies, Locality};
use super::*;

const ASKED: &str = "10.1.0.1:80";

/// The endpoints that any entropy leads to, and how many of 64 evenly spread values lead to each.
fn shares(endpoints: Vec<Workload>, service: &Service, source: &Workload) -> BTreeMap<String, usize> {
    let mut snapshot = Snapshot::default();
    for endpoint in endpoints {
        snapshot.upsert_workload(Arc::new(endpoint));
    }
    let mut shares = BTreeMap::new();
    for i in 0..64 {
        // In the middle of each 64th.
        let entropy = (i << 58) + (1 << 57);
        if let Some(choice) = choose(&snapshot, source, service, ASKED.parse().unwrap(), entropy) {
            *shares.entry(choice.workload.uid.to_string()).or_default() += 1;
        }
    }
    assert!([0, 64].contains(&shares.values().sum::<usize>()), "some entropy leads nowhere: {shares:?}");
    shares
}

fn chosen(endpoints: Vec<Workload>, service: &Service) -> Vec<String> {
    shares(endpoints, service, &workload("source")).into_keys().collect()
}

fn cart(uid: &str) -> Workload {
    endpoint_of(uid, "10.0.0.1", "shop/cart", &[])
}

fn with(uid: &str, change: impl FnOnce(&mut Workload)) -> Workload {
    let mut endpoint = cart(uid);
    change(&mut endpoint);
    endpoint
}

fn service_with(change: impl FnOnce(&mut Service)) -> Service {
    let mut service = service("shop/cart");
    change(&mut service);
    service
}

fn unhealthy(uid: &str) -> Workload {
    with(uid, |endpoint| endpoint.healthy = false)
}

/// On another network, with or without an address, behind a gateway or not.
fn remote(uid: &str, address: bool, behind: bool) -> Workload {
    with(uid, |endpoint| {
        endpoint.network = "west".into();
        endpoint.network_gateway = behind.then(|| gateway("west/10.9.9.9"));
        endpoint.ips.retain(|_| address);
    })
}

fn by_hostname(uid: &str) -> Workload {
    with(uid, |endpoint| {
        endpoint.ips.clear();
        endpoint.hostname = "cart.example.com".into();
    })
}

#[test]
fn only_endpoints_that_can_take_the_connection_are_candidates() {
    let standard = service("shop/cart");
    let any_health = service_with(|service| service.load_balancing.allow_unhealthy = true);
    let v6_only = service_with(|service| service.ip_families = IpFamilies::V6);
    let named_port = service_with(|service| service.ports = BTreeMap::from([(80, 0)]));
    let knows_port = endpoint_of("b", "10.0.0.2", "shop/cart", &[(80, 1234)]);
    let knows_other_port = endpoint_of("c", "10.0.0.3", "shop/cart", &[(81, 1234)]);
    let no_capacity = with("a", |endpoint| endpoint.capacity = 0);
    let nowhere = with("a", |endpoint| endpoint.ips.clear());
    let elsewhere = endpoint_of("b", "10.0.0.2", "shop/other", &[]);
    let cases: Vec<(&str, Vec<Workload>, &Service, &[&str])> = vec![
        ("no endpoint", vec![], &standard, &[]),
        ("endpoints of the service only", vec![cart("a"), elsewhere], &standard, &["a"]),
        ("the healthy ones", vec![cart("a"), unhealthy("b")], &standard, &["a"]),
        ("none healthy", vec![unhealthy("b")], &standard, &[]),
        ("health does not matter", vec![cart("a"), unhealthy("b")], &any_health, &["a", "b"]),
        ("no capacity", vec![no_capacity.clone(), cart("b")], &standard, &["b"]),
        ("no capacity anywhere", vec![no_capacity], &standard, &[]),
        ("without an address", vec![nowhere.clone(), cart("b")], &standard, &["b"]),
        ("nobody has an address", vec![nowhere], &standard, &[]),
        ("no address of the family", vec![cart("a")], &v6_only, &[]),
        ("only those that know the port", vec![cart("a"), knows_port, knows_other_port], &named_port, &["b"]),
        ("through a gateway if there is no other", vec![remote("a", true, true)], &standard, &["a"]),
        ("without an address through a gateway", vec![remote("a", false, true)], &standard, &["a"]),
        ("not without a way at all", vec![remote("a", false, false)], &standard, &[]),
        ("but directly is better", vec![remote("a", true, true), cart("b")], &standard, &["b"]),
        ("by hostname if there is no other", vec![by_hostname("a")], &standard, &["a"]),
        ("directly is better than that", vec![by_hostname("a"), cart("b")], &standard, &["b"]),
    ];
    for (says, endpoints, service, expected) in cases {
        assert_eq!(chosen(endpoints, service), expected, "{says}");
    }
}

#[test]
fn capacity_is_a_share_of_the_connections() {
    let weights = |weights: &[(&str, u32)]| -> Vec<(String, usize)> {
        let endpoint = |(uid, capacity): &(&str, u32)| with(uid, |endpoint| endpoint.capacity = *capacity);
        let endpoints = weights.iter().map(endpoint).collect();
        shares(endpoints, &service("shop/cart"), &workload("source")).into_iter().collect()
    };
    let expected = |shares: &[(&str, usize)]| -> Vec<(String, usize)> {
        shares.iter().map(|(uid, share)| ((*uid).to_owned(), *share)).collect()
    };
    assert_eq!(weights(&[("a", 1), ("b", 1)]), expected(&[("a", 32), ("b", 32)]));
    assert_eq!(weights(&[("a", 1), ("b", 3)]), expected(&[("a", 16), ("b", 48)]));
    assert_eq!(weights(&[("a", 1), ("b", 0), ("c", 7)]), expected(&[("a", 8), ("c", 56)]));
    assert_eq!(weights(&[("a", u32::MAX), ("b", u32::MAX)]), expected(&[("a", 32), ("b", 32)]));
}

#[test]
fn the_ends_of_the_entropy_lead_somewhere() {
    let mut snapshot = Snapshot::default();
    for uid in ["a", "b", "c"] {
        snapshot.upsert_workload(Arc::new(cart(uid)));
    }
    let service = service("shop/cart");
    let uid = |entropy| {
        let choice = choose(&snapshot, &workload("source"), &service, ASKED.parse().unwrap(), entropy);
        choice.map(|choice| choice.workload.uid.to_string())
    };
    assert_eq!(uid(0).as_deref(), Some("a"));
    assert_eq!(uid(u64::MAX).as_deref(), Some("c"));
}

#[test]
fn the_port_is_the_endpoints_own_else_the_services() {
    let service = service_with(|service| service.ports = BTreeMap::from([(80, 8080), (81, 0)]));
    let endpoint = endpoint_of("a", "10.0.0.1", "shop/cart", &[(80, 9090), (82, 9292), (83, 0)]);
    let cases = [(80, Some(9090)), (81, None), (82, Some(9292)), (83, None)];
    for (port, expected) in cases {
        assert_eq!(target_port(&service, &endpoint, port), expected, "{port}");
    }
    assert_eq!(target_port(&service, &cart("b"), 80), Some(8080));
    assert_eq!(target_port(&service, &workload("no endpoint"), 80), Some(8080));
}

#[test]
fn the_address_is_the_one_asked_for_else_of_its_family() {
    let dual = |families| service_with(|service| service.ip_families = families);
    let endpoint = with("a", |endpoint| {
        endpoint.ips = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"].map(|ip| ip.parse().unwrap()).to_vec();
    });
    let cases = [
        (IpFamilies::Any, "10.0.0.2", Some("10.0.0.2")),
        (IpFamilies::Any, "fd00::2", Some("fd00::2")),
        (IpFamilies::Any, "10.1.0.1", Some("10.0.0.1")),
        (IpFamilies::Any, "fd01::1", Some("fd00::1")),
        (IpFamilies::V4, "fd01::1", Some("10.0.0.1")),
        (IpFamilies::V6, "10.1.0.1", Some("fd00::1")),
        (IpFamilies::V6, "10.0.0.1", Some("10.0.0.1")),
    ];
    for (families, asked, expected) in cases {
        let found = address(&dual(families), &endpoint, asked.parse().unwrap());
        assert_eq!(found, expected.map(|ip| ip.parse().unwrap()), "{families:?} {asked}");
    }
    assert_eq!(address(&dual(IpFamilies::V6), &cart("v4 only"), "10.1.0.1".parse().unwrap()), None);
}

#[test]
fn locality_decides_as_the_mode_says() {
    use LocalityScope::{Cluster, Network, Node, Region, Subzone, Zone};
    let place = |uid: &str, network: &str, region: &str, zone: &str| {
        with(uid, |endpoint| {
            endpoint.network = network.into();
            endpoint.locality = Locality { region: region.into(), zone: zone.into(), subzone: "".into() };
        })
    };
    let near = || place("near", "", "eu", "eu-1");
    let full = || Workload { capacity: 0, ..place("full", "", "eu", "eu-1") };
    let same_region = || place("region", "", "eu", "eu-2");
    let far = || place("far", "", "us", "us-1");
    // The same zone name in another region: the zone does not count, because the region does not match.
    let odd = || place("odd", "", "us", "eu-1");
    let source = place("source", "", "eu", "eu-1");
    let region_zone: &[LocalityScope] = &[Region, Zone];
    type Case<'a> = (&'a str, Mode, &'a [LocalityScope], Vec<Workload>, &'a [&'a str]);
    let cases: Vec<Case<'_>> = vec![
        ("standard ignores it", Mode::Standard, region_zone, vec![near(), far()], &["far", "near"]),
        ("strict: all match", Mode::Strict, region_zone, vec![near(), same_region(), far()], &["near"]),
        ("strict: none matches all", Mode::Strict, region_zone, vec![same_region(), far()], &[]),
        ("strict without preferences", Mode::Strict, &[], vec![near(), far()], &["far", "near"]),
        ("failover: the best", Mode::Failover, region_zone, vec![near(), same_region(), far()], &["near"]),
        ("failover: the next best", Mode::Failover, region_zone, vec![same_region(), far()], &["region"]),
        (
            "failover: the best that has capacity",
            Mode::Failover,
            region_zone,
            vec![full(), same_region()],
            &["region"],
        ),
        ("failover: whoever is left", Mode::Failover, region_zone, vec![far()], &["far"]),
        ("a gap ends the count", Mode::Failover, region_zone, vec![odd(), far()], &["far", "odd"]),
        ("failover without preferences", Mode::Failover, &[], vec![near(), far()], &["far", "near"]),
        ("subzones are equal here", Mode::Strict, &[Subzone, Node, Cluster], vec![far()], &["far"]),
        ("strict about the network", Mode::Strict, &[Network], vec![place("w", "west", "eu", "eu-1")], &[]),
        (
            "strict about network and region",
            Mode::Strict,
            &[Network, Region],
            vec![far(), same_region()],
            &["region"],
        ),
        (
            "network first: the rest counts on the same network",
            Mode::Failover,
            &[Network, Region, Zone],
            vec![far(), same_region()],
            &["region"],
        ),
        (
            "network first: and on another one",
            Mode::Failover,
            &[Network, Region],
            vec![place("w-us", "west", "us", ""), place("w-eu", "west", "eu", "")],
            &["w-eu"],
        ),
        (
            "network last: a scope like the others",
            Mode::Failover,
            &[Region, Network],
            vec![place("w-us", "west", "us", ""), place("w-eu", "west", "eu", "")],
            &["w-eu"],
        ),
    ];
    for (says, mode, preferences, endpoints, expected) in cases {
        let service = service_with(|service| {
            service.load_balancing =
                LoadBalancing { mode, preferences: preferences.to_vec(), allow_unhealthy: false };
        });
        let found: Vec<String> = shares(endpoints, &service, &source).into_keys().collect();
        assert_eq!(found, expected, "{says}");
    }
}

#[test]
fn the_network_as_first_preference_outranks_all_others_together() {
    use LocalityScope::{Network, Region, Zone};
    let balancing = LoadBalancing {
        mode: Mode::Failover,
        preferences: vec![Network, Region, Zone],
        allow_unhealthy: false,
    };
    let place = |network: &str, region: &str| {
        with("a", |endpoint| {
            endpoint.network = network.into();
            endpoint.locality.region = region.into();
        })
    };
    let source = place("", "eu");
    let rank = |network, region| locality_rank(&balancing, &source, &place(network, region));
    assert!(rank("", "us") > rank("west", "eu"));
    assert!(rank("", "eu") > rank("", "us"));
    assert!(rank("west", "eu") > rank("west", "us"));
}
