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

#[test]
fn what_cannot_be_meant_is_refused() {
    type Spoil = fn(&mut message::Workload);
    let gateway = message::GatewayAddress { destination: None, hbone_mtls_port: 1 };
    let spoilt: [(&str, Spoil); 9] = [
        ("an address has 3 bytes", |workload| workload.addresses.push(vec![1, 2, 3])),
        ("tunnel_protocol is 9", |workload| workload.tunnel_protocol = 9),
        ("network_mode is 7", |workload| workload.network_mode = 7),
        ("workload_type is -1", |workload| workload.workload_type = -1),
        ("status is 2", |workload| workload.status = 2),
        ("neither a uid nor an address", |workload| {
            workload.uid.clear();
            workload.addresses.clear();
        }),
        ("70000 is no port", |workload| {
            let port = message::Port { service_port: 80, target_port: 70_000, app_protocol: 0 };
            workload.services.insert("shop/cart".to_owned(), message::PortList { ports: vec![port] });
        }),
        ("has no `/`", |workload| {
            workload.services.insert("cart".to_owned(), message::PortList::default());
        }),
        ("application_tunnel is 5", |workload| {
            workload.application_tunnel = Some(message::ApplicationTunnel { protocol: 5, port: 1 });
        }),
    ];
    for (problem, spoil) in spoilt {
        let mut workload = cilium();
        spoil(&mut workload);
        let refusal = read(workload, &mut interned()).unwrap_err();
        assert!(refusal.contains(problem), "{refusal}");
    }
    let workload = message::Workload { waypoint: Some(gateway), ..cilium() };
    assert!(read(workload, &mut interned()).unwrap_err().contains("no destination"));
}
