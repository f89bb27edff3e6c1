#![allow(clippy::unwrap_used)]

use super::super::fixture::{
    endpoint_of, gateway, identity, name, service, service_at, workload, workload_at,
};
use super::super::{
    ApplicationTunnel, GatewayDestination, LoadBalancing, MeshSettings, NetworkMode, TunnelHeader,
    Visibility, WeightedWaypoint,
};
use super::*;

/// What a route says, without the workloads and services in full.
#[derive(Debug, PartialEq)]
enum Way {
    Hbone { target: String, authority: String, workload: String, service: Option<String> },
    Plain { target: String, workload: Option<String>, service: Option<String> },
    Refused(Refusal),
}

fn hbone(target: &str, authority: &str, workload: &str, service: Option<&str>) -> Way {
    Way::Hbone {
        target: target.to_owned(),
        authority: authority.to_owned(),
        workload: workload.to_owned(),
        service: service.map(ToOwned::to_owned),
    }
}

fn plain(target: &str, workload: Option<&str>, service: Option<&str>) -> Way {
    Way::Plain {
        target: target.to_owned(),
        workload: workload.map(ToOwned::to_owned),
        service: service.map(ToOwned::to_owned),
    }
}

impl From<Route> for Way {
    fn from(route: Route) -> Self {
        let key = |service: Option<Arc<Service>>| service.map(|service| service.key.to_string());
        match route {
            Route::Hbone(route) => Self::Hbone {
                target: route.target.to_string(),
                authority: route.authority.to_string(),
                workload: route.workload.uid.to_string(),
                service: key(route.service),
            },
            Route::Passthrough { target, workload, service } => Self::Plain {
                target: target.to_string(),
                workload: workload.map(|workload| workload.uid.to_string()),
                service: key(service),
            },
            Route::Refuse(refusal) => Self::Refused(refusal),
        }
    }
}

#[derive(Default)]
struct Mesh {
    snapshot: Snapshot,
}

impl Mesh {
    fn workload(mut self, workload: Workload) -> Self {
        self.snapshot.upsert_workload(Arc::new(workload));
        self
    }

    fn service(mut self, service: Service) -> Self {
        self.snapshot.upsert_service(Arc::new(service));
        self
    }

    /// From the workload `source` of the namespace `shop`, at 10.0.0.1.
    fn way(&self, destination: &str) -> Way {
        self.way_from(&source(), destination)
    }

    fn way_from(&self, source: &Workload, destination: &str) -> Way {
        route(&self.snapshot, source, destination.parse().unwrap(), 1 << 60).into()
    }
}

fn source() -> Workload {
    workload_at("source", "10.0.0.1")
}

fn change<T>(mut of: T, how: impl FnOnce(&mut T)) -> T {
    how(&mut of);
    of
}

fn tcp(workload: Workload) -> Workload {
    change(workload, |workload| workload.protocol = Protocol::Tcp)
}

fn waypoint_needed(destination: &str, waypoint: &str) -> Way {
    let destination = destination.parse().unwrap();
    Way::Refused(Refusal::WaypointNeeded { destination, waypoint: gateway(waypoint) })
}

#[test]
fn by_the_address_of_a_workload() {
    let dual = change(workload_at("dual", "10.0.0.4"), |dual| dual.ips.push("fd00::4".parse().unwrap()));
    let mesh = Mesh::default()
        .workload(source())
        .workload(workload_at("enrolled", "10.0.0.2"))
        .workload(tcp(workload_at("plain", "10.0.0.3")))
        .workload(dual)
        .workload(change(workload_at("sick", "10.0.0.5"), |sick| sick.healthy = false))
        .workload(change(workload_at("remote", "10.0.0.6"), |remote| remote.network = "west".into()))
        .workload(change(workload_at("agent", "10.0.0.7"), |agent| {
            agent.network_mode = NetworkMode::HostNetwork;
        }));
    let cases = [
        ("enrolled", "10.0.0.2:80", hbone("10.0.0.2:15008", "10.0.0.2:80", "enrolled", None)),
        (
            "in its mapped form",
            "[::ffff:10.0.0.2]:80",
            hbone("10.0.0.2:15008", "10.0.0.2:80", "enrolled", None),
        ),
        ("not enrolled", "10.0.0.3:80", plain("10.0.0.3:80", Some("plain"), None)),
        ("IPv6", "[fd00::4]:80", hbone("[fd00::4]:15008", "[fd00::4]:80", "dual", None)),
        ("health is for services", "10.0.0.5:80", hbone("10.0.0.5:15008", "10.0.0.5:80", "sick", None)),
        ("the source itself", "10.0.0.1:80", hbone("10.0.0.1:15008", "10.0.0.1:80", "source", None)),
        ("unknown", "192.0.2.1:443", plain("192.0.2.1:443", None, None)),
        ("the address means somebody else over there", "10.0.0.6:80", plain("10.0.0.6:80", None, None)),
        ("an address of the node", "10.0.0.7:80", plain("10.0.0.7:80", None, None)),
        (
            "the proxy's port there",
            "10.0.0.2:15008",
            hbone("10.0.0.2:15008", "10.0.0.2:15008", "enrolled", None),
        ),
    ];
    for (says, destination, expected) in cases {
        assert_eq!(mesh.way(destination), expected, "{says}");
    }
}

#[test]
fn the_proxy_does_not_call_itself() {
    let mesh = Mesh::default();
    for (destination, refused) in [
        ("127.0.0.1:15001", true),
        ("127.0.0.1:15006", true),
        ("127.9.9.9:15008", true),
        ("[::1]:15008", true),
        ("[::ffff:127.0.0.1]:15001", true),
        ("127.0.0.1:15002", false),
        ("10.0.0.9:15001", false),
    ] {
        let way = mesh.way(destination);
        assert_eq!(matches!(way, Way::Refused(Refusal::SelfCall { .. })), refused, "{destination}: {way:?}");
    }
}

#[test]
fn by_the_address_of_a_service() {
    let visible_to_bank = change(service_at("bank/vault", "/10.1.0.5"), |service| {
        service.visibility = Visibility::Namespace;
    });
    let blocks = change(service("shop/blocks"), |service| {
        service.cidr_vips =
            vec![super::super::NetworkCidr { network: "".into(), cidr: "10.2.0.0/16".parse().unwrap() }];
    });
    let passthrough = change(service_at("shop/direct", "/10.1.0.6"), |service| {
        service.load_balancing = LoadBalancing { mode: Mode::Passthrough, ..LoadBalancing::default() };
    });
    let mesh = Mesh::default()
        .workload(endpoint_of("cart-1", "10.0.0.2", "shop/cart", &[]))
        .workload(tcp(endpoint_of("old-1", "10.0.0.3", "shop/old", &[(80, 9090)])))
        .workload(change(endpoint_of("sick-1", "10.0.0.4", "shop/sick", &[]), |sick| sick.healthy = false))
        .workload(endpoint_of("blocks-1", "10.0.0.5", "shop/blocks", &[]))
        .workload(workload_at("claimed", "10.1.0.9"))
        .service(service_at("shop/cart", "/10.1.0.1"))
        .service(service_at("shop/old", "/10.1.0.2"))
        .service(service_at("shop/sick", "/10.1.0.3"))
        .service(service_at("shop/empty", "/10.1.0.4"))
        .service(visible_to_bank)
        .service(passthrough)
        .service(blocks)
        .service(service_at("shop/claimed", "/10.1.0.9"));
    let no_upstream = |key| Way::Refused(Refusal::NoHealthyUpstream { service: name(key), port: 80 });
    let cart = || hbone("10.0.0.2:15008", "10.0.0.2:8080", "cart-1", Some("shop/cart"));
    let cases = [
        ("an endpoint, on its target port", "10.1.0.1:80", cart()),
        (
            "the endpoint's own mapping, not enrolled",
            "10.1.0.2:80",
            plain("10.0.0.3:9090", Some("old-1"), Some("shop/old")),
        ),
        (
            "a port the service does not have",
            "10.1.0.1:81",
            Way::Refused(Refusal::NoSuchPort { service: name("shop/cart"), port: 81 }),
        ),
        ("no healthy endpoint", "10.1.0.3:80", no_upstream("shop/sick")),
        ("no endpoint", "10.1.0.4:80", no_upstream("shop/empty")),
        ("hidden from this namespace", "10.1.0.5:80", plain("10.1.0.5:80", None, None)),
        ("passed through as asked", "10.1.0.6:80", plain("10.1.0.6:80", None, Some("shop/direct"))),
        ("even on another port", "10.1.0.6:81", plain("10.1.0.6:81", None, Some("shop/direct"))),
        ("a block", "10.2.3.4:80", hbone("10.0.0.5:15008", "10.0.0.5:8080", "blocks-1", Some("shop/blocks"))),
        ("a workload first", "10.1.0.9:80", hbone("10.1.0.9:15008", "10.1.0.9:80", "claimed", None)),
    ];
    for (says, destination, expected) in cases {
        assert_eq!(mesh.way(destination), expected, "{says}");
    }
}

#[test]
fn the_peer_is_expected_to_be_the_workload_or_what_the_service_vouches_for() {
    let vouches = change(service_at("shop/cart", "/10.1.0.1"), |service| {
        service.subject_alt_names =
            ["spiffe://cluster.local/ns/shop/sa/other", "spiffe://cluster.local/ns/shop/sa/cart"]
                .map(identity)
                .to_vec();
    });
    let mesh = Mesh::default().workload(endpoint_of("cart-1", "10.0.0.2", "shop/cart", &[])).service(vouches);
    let identities =
        |destination: &str| match route(&mesh.snapshot, &source(), destination.parse().unwrap(), 0) {
            Route::Hbone(route) => route.identities,
            other => panic!("{other:?}"),
        };
    let own = identity("spiffe://cluster.local/ns/shop/sa/cart");
    let other = identity("spiffe://cluster.local/ns/shop/sa/other");
    assert_eq!(identities("10.1.0.1:80"), [own.clone(), other]);
    assert_eq!(identities("10.0.0.2:80"), [own], "asked for directly, the service has no say");
}

#[test]
fn what_needs_a_waypoint_is_refused() {
    let via = |service: Service| change(service, |service| service.waypoint = Some(gateway("/10.0.0.9")));
    let weighted = |weight| {
        change(via(service_at("shop/weighted", "/10.1.0.3")), |service| {
            service.weighted_waypoints = vec![WeightedWaypoint { gateway: gateway("/10.0.0.8"), weight }];
        })
    };
    let direct = change(via(service_at("shop/direct", "/10.1.0.4")), |service| {
        service.load_balancing = LoadBalancing { mode: Mode::Passthrough, ..LoadBalancing::default() };
    });
    let behind =
        |endpoint: Workload| change(endpoint, |endpoint| endpoint.waypoint = Some(gateway("/10.0.0.9")));
    let waypoint = workload_at("waypoint", "10.0.0.9");
    let mesh = Mesh::default()
        .workload(source())
        .workload(waypoint.clone())
        .workload(behind(endpoint_of("cart-1", "10.0.0.2", "shop/cart", &[])))
        .workload(behind(tcp(workload_at("plain", "10.0.0.3"))))
        .service(service_at("shop/cart", "/10.1.0.1"))
        .service(via(service_at("shop/via", "/10.1.0.2")))
        .service(weighted(1))
        .service(direct)
        .workload(endpoint_of("via-1", "10.0.0.4", "shop/via", &[]));
    let cases = [
        ("a workload's", "10.0.0.2:80", waypoint_needed("10.0.0.2:80", "/10.0.0.9")),
        ("even if it is not enrolled", "10.0.0.3:80", waypoint_needed("10.0.0.3:80", "/10.0.0.9")),
        ("a service's", "10.1.0.2:80", waypoint_needed("10.1.0.2:80", "/10.0.0.9")),
        ("one of several", "10.1.0.3:80", waypoint_needed("10.1.0.3:80", "/10.0.0.8")),
        ("also of one that is passed through", "10.1.0.4:80", waypoint_needed("10.1.0.4:80", "/10.0.0.9")),
        (
            "an endpoint's does not matter when the service is asked for",
            "10.1.0.1:80",
            hbone("10.0.0.2:15008", "10.0.0.2:8080", "cart-1", Some("shop/cart")),
        ),
    ];
    for (says, destination, expected) in cases {
        assert_eq!(mesh.way(destination), expected, "{says}");
    }

    let from_waypoint = [
        ("10.0.0.2:80", hbone("10.0.0.2:15008", "10.0.0.2:80", "cart-1", None)),
        ("10.1.0.2:80", hbone("10.0.0.4:15008", "10.0.0.4:8080", "via-1", Some("shop/via"))),
        ("10.1.0.3:80", waypoint_needed("10.1.0.3:80", "/10.0.0.8")),
    ];
    for (destination, expected) in from_waypoint {
        assert_eq!(mesh.way_from(&waypoint, destination), expected, "the waypoint itself, to {destination}");
    }

    let own = change(source(), |source| source.waypoint = Some(gateway("/10.0.0.9")));
    let unbothered = Mesh::default().workload(tcp(workload_at("b", "10.0.0.2")));
    assert_eq!(
        unbothered.way_from(&own, "10.0.0.2:80"),
        plain("10.0.0.2:80", Some("b"), None),
        "the source's own"
    );
}

#[test]
fn another_network_needs_a_gateway_and_is_refused() {
    let remote = |uid: &str, service: &str, via: bool| {
        change(endpoint_of(uid, "10.0.0.2", service, &[]), |remote| {
            remote.network = "west".into();
            remote.network_gateway = via.then(|| gateway("west/10.9.9.9"));
        })
    };
    let mesh = Mesh::default()
        .workload(remote("far", "shop/far", true))
        .workload(remote("lost", "shop/lost", false))
        .workload(remote("both-far", "shop/both", true))
        .workload(endpoint_of("both-near", "10.0.0.3", "shop/both", &[]))
        .service(service_at("shop/far", "/10.1.0.1"))
        .service(service_at("shop/lost", "/10.1.0.2"))
        .service(service_at("shop/both", "/10.1.0.3"));
    let needed = Refusal::GatewayNeeded {
        workload: "far".into(),
        network: "west".into(),
        gateway: gateway("west/10.9.9.9"),
    };
    assert_eq!(mesh.way("10.1.0.1:80"), Way::Refused(needed));
    let none = Refusal::NoGateway { workload: "lost".into(), network: "west".into() };
    assert_eq!(mesh.way("10.1.0.2:80"), Way::Refused(none));
    let near = hbone("10.0.0.3:15008", "10.0.0.3:8080", "both-near", Some("shop/both"));
    assert_eq!(mesh.way("10.1.0.3:80"), near);
}

#[test]
fn a_wrong_network_name_does_not_turn_into_plain_tcp() {
    let settings = MeshSettings { network: "west".into(), ..MeshSettings::default() };
    let enrolled = |network: &str| {
        change(workload_at("enrolled", "10.0.0.2"), |enrolled| enrolled.network = network.into())
    };
    let way = |network: &str, source_network: &str| {
        let mesh = Mesh { snapshot: Snapshot::new(settings.clone()) }.workload(enrolled(network));
        let source = change(source(), |source| source.network = source_network.into());
        mesh.way_from(&source, "10.0.0.2:80")
    };
    let tunnel = || hbone("10.0.0.2:15008", "10.0.0.2:80", "enrolled", None);
    assert_eq!(way("west", "west"), tunnel());
    assert_eq!(way("", ""), tunnel(), "both are wrong about it");
    let refused = Refusal::NoGateway { workload: "enrolled".into(), network: "west".into() };
    assert_eq!(way("west", ""), Way::Refused(refused), "only the source is");
}

#[test]
fn an_application_tunnel_is_refused_where_there_would_be_a_tunnel() {
    let tunnelled = |workload: Workload| {
        change(workload, |workload| {
            workload.application_tunnel = Some(ApplicationTunnel { header: TunnelHeader::Proxy, port: None });
        })
    };
    let mesh = Mesh::default()
        .workload(tunnelled(workload_at("a", "10.0.0.2")))
        .workload(tcp(tunnelled(workload_at("b", "10.0.0.3"))));
    let needed = Refusal::ApplicationTunnelNeeded { workload: "a".into() };
    assert_eq!(mesh.way("10.0.0.2:80"), Way::Refused(needed));
    assert_eq!(mesh.way("10.0.0.3:80"), plain("10.0.0.3:80", Some("b"), None));
}

#[test]
fn an_endpoint_known_by_its_hostname_is_refused() {
    let hostname = change(endpoint_of("a", "10.0.0.2", "shop/cart", &[]), |endpoint| {
        endpoint.ips.clear();
        endpoint.hostname = "cart.example.com".into();
    });
    let mesh = Mesh::default().workload(hostname).service(service_at("shop/cart", "/10.1.0.1"));
    let needed = Refusal::ResolutionNeeded { workload: "a".into(), hostname: "cart.example.com".into() };
    assert_eq!(mesh.way("10.1.0.1:80"), Way::Refused(needed));
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let by_name = GatewayAddress {
        destination: GatewayDestination::Hostname(name("shop/waypoint")),
        hbone_port: 15008,
    };
    let mesh = Mesh::default()
        .workload(change(workload("named"), |named| {
            named.ips = vec!["10.0.0.2".parse().unwrap()];
            named.waypoint = Some(by_name);
        }))
        .service(service_at("shop/empty", "/10.1.0.1"));
    let text = |destination| match mesh.way(destination) {
        Way::Refused(refusal) => {
            assert!(!refusal.cure().is_empty());
            refusal.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text("10.0.0.2:80"),
        "connections to 10.0.0.2:80 must go through the waypoint shop/waypoint port 15008, which is not supported yet"
    );
    assert_eq!(text("10.1.0.1:80"), "service shop/empty has no healthy endpoint for port 80");
    assert_eq!(text("10.1.0.1:81"), "service shop/empty has no port 81");
    assert_eq!(text("127.0.0.1:15001"), "127.0.0.1:15001 is a port of the proxy itself");
}

/// Not to know it would mean plain TCP to it.
#[test]
fn to_a_workload_that_could_not_be_read() {
    let unreadable = |workload| {
        change(workload, |workload: &mut Workload| workload.unreadable = Some("its port is 70000".into()))
    };
    let mesh = Mesh::default()
        .workload(source())
        .workload(unreadable(tcp(workload_at("plain", "10.0.0.2"))))
        .workload(unreadable(endpoint_of("endpoint", "10.0.0.3", "shop/cart", &[])))
        .service(service_at("shop/cart", "/10.1.0.1"));
    for (destination, uid) in
        [("10.0.0.2:80", "plain"), ("10.0.0.3:80", "endpoint"), ("10.1.0.1:80", "endpoint")]
    {
        let refusal = Refusal::Unreadable { workload: uid.into(), problem: "its port is 70000".into() };
        assert_eq!(mesh.way(destination), Way::Refused(refusal), "{destination}");
    }
}

/// As with a workload: its addresses would be nobody's.
#[test]
fn to_a_service_that_could_not_be_read() {
    let mode = Mode::Passthrough;
    let load_balancing = LoadBalancing { mode, ..LoadBalancing::default() };
    let unreadable = Service {
        unreadable: Some("its port is 70000".into()),
        load_balancing,
        ..service_at("shop/cart", "/10.1.0.1")
    };
    let mesh = Mesh::default().workload(source()).service(unreadable);
    let refusal =
        Refusal::UnreadableService { service: name("shop/cart"), problem: "its port is 70000".into() };
    assert_eq!(mesh.way("10.1.0.1:80"), Way::Refused(refusal));
}
