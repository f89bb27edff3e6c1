#![allow(clippy::unwrap_used)]

use engine::mesh::{GatewayDestination, MeshSettings, TrustDomain};
use proto::workload::gateway_address::Destination;

use super::*;

fn interned() -> Interned {
    Interned::new(MeshSettings { trust_domain: TrustDomain::new("spiffe.cilium"), ..MeshSettings::default() })
}

/// What Cilium's agent sets, and nothing else (contract 2.9).
fn cilium() -> message::Workload {
    message::Workload {
        name: "cart-1".to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![vec![10, 0, 0, 1], [vec![0xfd], vec![0; 14], vec![1]].concat()],
        tunnel_protocol: 1,
        service_account: "cart".to_owned(),
        node: "192.168.0.2".to_owned(),
        uid: "0b6c".to_owned(),
        ..Default::default()
    }
}

#[test]
fn what_cilium_leaves_out_is_the_meshs() {
    let workload = read(cilium(), &mut interned()).unwrap();
    assert_eq!(workload.identity.to_string(), "spiffe://spiffe.cilium/ns/shop/sa/cart");
    assert_eq!((&*workload.uid, &*workload.name, &*workload.node), ("0b6c", "cart-1", "192.168.0.2"));
    assert_eq!(workload.ips, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    assert_eq!((workload.protocol, workload.network_mode), (Protocol::Hbone, NetworkMode::Standard));
    assert_eq!((&*workload.cluster_id, &*workload.workload_type), ("Kubernetes", "deployment"));
    assert_eq!((workload.healthy, workload.capacity), (true, 1));
    assert_eq!(&*workload.network, "");
}

#[test]
fn every_field_is_taken_over() {
    let gateway = |host: &str| message::GatewayAddress {
        destination: Some(Destination::Hostname(message::NamespacedHostname {
            namespace: "infra".to_owned(),
            hostname: host.to_owned(),
        })),
        hbone_mtls_port: 0,
    };
    let ports = message::PortList {
        ports: vec![message::Port { service_port: 80, target_port: 8080, app_protocol: 0 }],
    };
    let workload = message::Workload {
        trust_domain: "other".to_owned(),
        network: "west".to_owned(),
        cluster_id: "c2".to_owned(),
        hostname: "cart.example".to_owned(),
        workload_name: "cart".to_owned(),
        workload_type: 3,
        canonical_name: "cart".to_owned(),
        canonical_revision: "v2".to_owned(),
        native_tunnel: true,
        authorization_policies: vec!["shop/allow".to_owned()],
        status: 1,
        network_mode: 1,
        capacity: Some(5),
        waypoint: Some(gateway("way")),
        network_gateway: Some(gateway("gate")),
        application_tunnel: Some(message::ApplicationTunnel { protocol: 1, port: 9000 }),
        locality: Some(message::Locality {
            region: "eu".to_owned(),
            zone: "eu-1".to_owned(),
            subzone: "rack".to_owned(),
        }),
        services: [("shop/cart.example".to_owned(), ports)].into(),
        ..cilium()
    };
    let workload = read(workload, &mut interned()).unwrap();
    assert_eq!(workload.identity.to_string(), "spiffe://other/ns/shop/sa/cart");
    assert_eq!((&*workload.network, &*workload.cluster_id, &*workload.workload_type), ("west", "c2", "job"));
    assert_eq!((&*workload.canonical_name, &*workload.canonical_revision), ("cart", "v2"));
    assert_eq!((&*workload.hostname, &*workload.workload_name), ("cart.example", "cart"));
    assert_eq!((workload.healthy, workload.native_tunnel, workload.capacity), (false, true, 5));
    assert_eq!(workload.network_mode, NetworkMode::HostNetwork);
    assert_eq!(workload.authorization_policies, [Arc::from("shop/allow")]);
    assert_eq!((&*workload.locality.region, &*workload.locality.subzone), ("eu", "rack"));
    assert_eq!(workload.application_tunnel.unwrap().port, Some(9000));
    let waypoint = workload.waypoint.unwrap();
    assert_eq!(waypoint.hbone_port, 15008, "where it is not said");
    assert_eq!(waypoint.destination, GatewayDestination::Hostname("infra/way".parse().unwrap()));
    assert_eq!(workload.network_gateway.unwrap().to_string(), "infra/gate port 15008");
    let service = "shop/cart.example".parse().unwrap();
    assert_eq!(workload.services[&service], [(80, 8080)].into());
}

type Spoil = fn(&mut message::Workload);

fn spoilt(spoil: Spoil) -> Result<Workload, Unread<Workload>> {
    let mut workload = cilium();
    spoil(&mut workload);
    read(workload, &mut interned())
}

/// It is known, so that nothing is sent to it as if it were not of the mesh, and nobody is connected to it.
#[test]
fn what_cannot_be_read_is_nobodys_destination() {
    let spoilt_by: [(&str, Spoil); 5] = [
        ("an address has 3 bytes", |workload| workload.addresses.push(vec![1, 2, 3])),
        ("tunnel_protocol is 9", |workload| workload.tunnel_protocol = 9),
        ("network_mode is 7", |workload| workload.network_mode = 7),
        ("application_tunnel is 5", |workload| {
            workload.application_tunnel = Some(message::ApplicationTunnel { protocol: 5, port: 1 });
        }),
        ("no destination", |workload| {
            workload.waypoint = Some(message::GatewayAddress { destination: None, hbone_mtls_port: 1 });
        }),
    ];
    for (problem, spoil) in spoilt_by {
        let Unread { problem: told, instead } = spoilt(spoil).unwrap_err();
        assert!(told.contains(problem), "{told}");
        let instead = instead.unwrap();
        assert_eq!((&*instead.uid, instead.unreadable.as_deref()), ("0b6c", Some(&*told)));
        assert_eq!((instead.protocol, instead.healthy), (Protocol::Hbone, false));
        assert_eq!(instead.own_addresses().count(), 2, "{problem}");
    }
}

#[test]
fn what_has_no_address_or_wants_no_tunnel_is_left_out() {
    let spoilt_by: [Spoil; 3] = [
        |workload| {
            workload.uid.clear();
            workload.addresses.clear();
        },
        |workload| workload.addresses = vec![vec![1, 2, 3]],
        |workload| (workload.tunnel_protocol, workload.network_mode) = (0, 7),
    ];
    for spoil in spoilt_by {
        assert_eq!(spoilt(spoil).unwrap_err().instead, None);
    }
}

#[test]
fn what_only_describes_it_may_be_unknown() {
    let ports = |target_port| message::PortList {
        ports: vec![message::Port { service_port: 80, target_port, app_protocol: 0 }],
    };
    let workload = message::Workload {
        workload_type: -1,
        status: 2,
        services: [
            ("cart".to_owned(), ports(8080)),
            ("shop/cart".to_owned(), ports(70_000)),
            ("shop/web".to_owned(), ports(8080)),
        ]
        .into(),
        ..cilium()
    };
    let workload = read(workload, &mut interned()).unwrap();
    assert_eq!((&*workload.workload_type, workload.healthy), ("deployment", true));
    assert_eq!(workload.services, [("shop/web".parse().unwrap(), [(80, 8080)].into())].into());
}
