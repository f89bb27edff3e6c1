#![allow(clippy::unwrap_used)]

use engine::mesh::MeshSettings;

use super::*;

fn interned() -> Interned {
    Interned::new(MeshSettings::default())
}

fn cart() -> message::Service {
    message::Service {
        name: "cart".to_owned(),
        namespace: "shop".to_owned(),
        hostname: "cart.example".to_owned(),
        ..Default::default()
    }
}

fn address(ip: [u8; 4], length: Option<u32>) -> message::NetworkAddress {
    message::NetworkAddress { network: "west".to_owned(), address: ip.to_vec(), length }
}

#[test]
fn addresses_are_single_ones_or_blocks() {
    let mut service = cart();
    service.addresses = vec![
        address([10, 1, 0, 1], None),
        address([10, 1, 0, 2], Some(32)),
        address([10, 2, 3, 4], Some(16)),
    ];
    let service = read(service, &mut interned()).unwrap();
    assert_eq!(service.key.to_string(), "shop/cart.example");
    assert_eq!(service.vips, ["west/10.1.0.1".parse().unwrap(), "west/10.1.0.2".parse().unwrap()]);
    assert_eq!(service.cidr_vips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["west/10.2.0.0/16"]);
}

#[test]
fn the_choice_of_an_endpoint_is_taken_over() {
    let mut service = cart();
    service.load_balancing = Some(message::LoadBalancing {
        routing_preference: vec![6, 1, 0, 2, 3, 4, 5],
        mode: 2,
        health_policy: 1,
    });
    service.ip_families = 2;
    service.visibility = 1;
    service.canonical = true;
    service.subject_alt_names = vec!["spiffe://td/ns/shop/sa/cart".to_owned(), "cart.example".to_owned()];
    let service = read(service, &mut interned()).unwrap();
    use LocalityScope::{Cluster, Network, Node, Region, Subzone, Zone};
    assert_eq!(service.load_balancing.preferences, [Network, Region, Zone, Subzone, Node, Cluster]);
    assert_eq!((service.load_balancing.mode, service.load_balancing.allow_unhealthy), (Mode::Failover, true));
    assert_eq!((service.ip_families, service.visibility), (IpFamilies::V6, Visibility::Namespace));
    assert!(service.canonical);
    assert_eq!(service.subject_alt_names, ["spiffe://td/ns/shop/sa/cart".parse().unwrap()]);
    assert_eq!(read(cart(), &mut interned()).unwrap().load_balancing, LoadBalancing::default());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    type Spoil = fn(&mut message::Service);
    let spoilt: [(&str, Spoil); 8] = [
        ("it has no hostname", |service| service.hostname.clear()),
        ("an address has 0 bytes", |service| service.addresses.push(message::NetworkAddress::default())),
        ("no such prefix", |service| service.addresses.push(address([10, 0, 0, 0], Some(33)))),
        ("65536 is no port", |service| {
            service.ports.push(message::Port { service_port: 65_536, target_port: 1, app_protocol: 0 });
        }),
        ("ip_families is 4", |service| service.ip_families = 4),
        ("mode is 4", |service| {
            service.load_balancing = Some(message::LoadBalancing { mode: 4, ..Default::default() });
        }),
        ("routing_preference is 8", |service| {
            let routing_preference = vec![8];
            service.load_balancing =
                Some(message::LoadBalancing { routing_preference, ..Default::default() });
        }),
        ("no destination", |service| {
            service.weighted_waypoints.push(message::WeightedWaypoint { destination: None, weight: 1 });
        }),
    ];
    for (problem, spoil) in spoilt {
        let mut service = cart();
        spoil(&mut service);
        let unread = read(service.clone(), &mut interned()).unwrap_err();
        assert!(unread.problem.contains(problem), "{unread:?}");
        assert!(unread.instead.is_none(), "it has no address that could be anybody's: {unread:?}");

        // What has one keeps it, and refuses.
        service.addresses.insert(0, address([10, 1, 0, 1], None));
        service.addresses.insert(0, address([10, 2, 0, 0], Some(16)));
        let instead = read(service, &mut interned()).unwrap_err().instead;
        assert_eq!(instead.is_some(), problem != "it has no hostname");
        if let Some(instead) = instead {
            assert_eq!((instead.vips.len(), instead.cidr_vips.len()), (1, 1), "{problem}");
            assert!(instead.unreadable.unwrap().contains(problem));
        }
    }
}
