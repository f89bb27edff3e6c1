//! Where a connection that came in through a tunnel is delivered.
//!
//! Always to the pod whose proxy was called; what the peer asks for only chooses the port.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::balance::target_port;
use super::waypoint::is_gateway;
use super::{GatewayAddress, NetworkAddress, Refusal, Service, Snapshot, Workload, is_own_port};

/// What a CONNECT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    Address(SocketAddr),
    /// A service of the mesh, and one of its ports. Gateways of other networks ask like this.
    Service {
        hostname: Arc<str>,
        port: u16,
    },
}

/// The text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not of the form host:port")]
pub struct AuthorityError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where the application listens.
    pub target: SocketAddr,
    /// The service that was asked for, if it was one.
    pub service: Option<Arc<Service>>,
}

/// Decides where a CONNECT to `workload` goes, whose proxy was called at `pod`. [`Refusal::status`] is the answer for
/// the peer if it goes nowhere.
pub fn deliver(
    snapshot: &Snapshot,
    workload: &Workload,
    pod: IpAddr,
    authority: &Authority,
) -> Result<Delivery, Refusal> {
    let pod = pod.to_canonical();
    if workload.application_tunnel.is_some() {
        return Err(Refusal::ApplicationTunnelNeeded { workload: Arc::clone(&workload.uid) });
    }
    let (port, service) = match authority {
        Authority::Address(address) => {
            let asked = SocketAddr::new(address.ip().to_canonical(), address.port());
            if asked.ip() != pod && !is_waypoint_of(snapshot, workload, asked.ip()) {
                return Err(Refusal::NotThisPod { authority: asked, pod });
            }
            (asked.port(), None)
        }
        Authority::Service { hostname, port } => {
            let found = snapshot.services.by_hostname(hostname, workload.namespace());
            let service = found.ok_or_else(|| Refusal::UnknownHost { hostname: Arc::clone(hostname) })?;
            if let Some(refusal) = service.refusal() {
                return Err(refusal);
            }
            let target = target_port(service, workload, *port)
                .ok_or_else(|| Refusal::NoSuchPort { service: service.key.clone(), port: *port })?;
            (target, Some(Arc::clone(service)))
        }
    };
    let target = SocketAddr::new(pod, port);
    if is_own_port(port) {
        return Err(Refusal::SelfCall { destination: target });
    }
    Ok(Delivery { target, service })
}

/// Whether connections to an address of the mesh are meant to go through the workload.
fn is_waypoint_of(snapshot: &Snapshot, workload: &Workload, asked: IpAddr) -> bool {
    let is_it = |gateway: &GatewayAddress| is_gateway(snapshot, workload, gateway);
    let address = NetworkAddress::new(&snapshot.settings().network, asked);
    match snapshot.workloads.by_address(&address) {
        Some(target) => target.waypoint.as_ref().is_some_and(is_it),
        None => snapshot
            .services
            .by_address(&address, workload.namespace())
            .is_some_and(|service| service.waypoints().any(is_it)),
    }
}

// === impl Authority ===

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let error = || AuthorityError(text.to_owned());
        let (hostname, port) = text.rsplit_once(':').ok_or_else(error)?;
        let is_hostname =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*');
        if hostname.is_empty() || !hostname.bytes().all(is_hostname) {
            return Err(error());
        }
        Ok(Self::Service { hostname: Arc::from(hostname), port: port.parse().map_err(|_| error())? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{endpoint_of, gateway, name, service, service_at, workload_at};
    use super::super::{ApplicationTunnel, TunnelHeader};
    use super::*;

    #[test]
    fn an_authority_is_an_address_or_a_hostname_with_a_port() {
        let host = |hostname: &str, port| Ok(Authority::Service { hostname: hostname.into(), port });
        let address = |text: &str| Ok(Authority::Address(text.parse().unwrap()));
        let error = |text: &str| Err(AuthorityError(text.to_owned()));
        for (text, expected) in [
            ("10.0.0.1:80", address("10.0.0.1:80")),
            ("[fd00::1]:80", address("[fd00::1]:80")),
            ("cart.shop.svc.cluster.local:80", host("cart.shop.svc.cluster.local", 80)),
            ("10.0.0.1", error("10.0.0.1")),
            ("fd00::1:80", error("fd00::1:80")),
            ("cart", error("cart")),
            (":80", error(":80")),
            ("cart:http", error("cart:http")),
            ("cart:65536", error("cart:65536")),
            ("user@cart:80", error("user@cart:80")),
            ("", error("")),
        ] {
            assert_eq!(text.parse::<Authority>(), expected, "{text}");
        }
    }

    fn mesh() -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut elsewhere = workload_at("elsewhere", "10.0.0.2");
        elsewhere.waypoint = Some(gateway("/10.0.0.1"));
        for workload in [
            endpoint_of("cart-1", "10.0.0.1", "shop/cart", &[(90, 9090)]),
            elsewhere,
            workload_at("other", "10.0.0.3"),
        ] {
            snapshot.upsert_workload(Arc::new(workload));
        }
        let mut cart = service("shop/cart");
        cart.ports.extend([(90, 0), (91, 0), (92, 15001)]);
        snapshot.upsert_service(Arc::new(cart));
        let mut behind = service_at("shop/behind", "/10.1.0.1");
        behind.waypoint = Some(gateway("/10.0.0.1"));
        snapshot.upsert_service(Arc::new(behind));
        snapshot
    }

    #[test]
    fn a_tunnel_ends_in_this_pod_or_nowhere() {
        let snapshot = mesh();
        let pod = snapshot.workload("cart-1").unwrap();
        let port = |port| Ok(("10.0.0.1".parse().unwrap(), port));
        let not_this_pod = |asked: &str| {
            Err(Refusal::NotThisPod { authority: asked.parse().unwrap(), pod: "10.0.0.1".parse().unwrap() })
        };
        let no_port = |port| Err(Refusal::NoSuchPort { service: name("shop/cart"), port });
        let own = |port| Err(Refusal::SelfCall { destination: SocketAddr::new(pod.ips[0], port) });
        type Target = Result<(IpAddr, u16), Refusal>;
        let cases: Vec<(&str, &str, Target)> = vec![
            ("its own address", "10.0.0.1:8080", port(8080)),
            ("the same in another form", "[::ffff:10.0.0.1]:8080", port(8080)),
            ("another pod", "10.0.0.3:8080", not_this_pod("10.0.0.3:8080")),
            ("an address nobody has", "10.9.9.9:8080", not_this_pod("10.9.9.9:8080")),
            ("a workload that it is the waypoint of", "10.0.0.2:8080", port(8080)),
            ("a service that it is the waypoint of", "10.1.0.1:8080", port(8080)),
            ("a service port", "cart:80", port(8080)),
            ("its own mapping before that of the service", "cart:90", port(9090)),
            ("a port whose number nobody knows", "cart:91", no_port(91)),
            ("a port the service does not have", "cart:99", no_port(99)),
            ("a service nobody has", "card:80", Err(Refusal::UnknownHost { hostname: "card".into() })),
            ("a port of the proxy", "10.0.0.1:15008", own(15008)),
            ("a port of the proxy, by mapping", "cart:92", own(15001)),
        ];
        for (says, authority, expected) in cases {
            let delivered = deliver(&snapshot, pod, pod.ips[0], &authority.parse().unwrap());
            let service = authority.starts_with("cart").then(|| name("shop/cart"));
            if let Ok(delivery) = &delivered {
                assert_eq!(delivery.service.as_ref().map(|service| service.key.clone()), service, "{says}");
            }
            assert_eq!(delivered.map(|d| (d.target.ip(), d.target.port())), expected, "{says}");
        }
    }

    #[test]
    fn an_application_tunnel_is_not_left_out() {
        let snapshot = mesh();
        let mut pod = workload_at("cart-1", "10.0.0.1");
        pod.application_tunnel = Some(ApplicationTunnel { header: TunnelHeader::Proxy, port: Some(15088) });
        let delivered = deliver(&snapshot, &pod, pod.ips[0], &"10.0.0.1:8080".parse().unwrap());
        assert_eq!(delivered, Err(Refusal::ApplicationTunnelNeeded { workload: "cart-1".into() }));
    }

    #[test]
    fn a_wrong_question_and_a_missing_answer_have_different_statuses() {
        let asked: SocketAddr = "10.0.0.3:80".parse().unwrap();
        assert_eq!(Refusal::NotThisPod { authority: asked, pod: asked.ip() }.status(), 400);
        assert_eq!(Refusal::UnknownHost { hostname: "card".into() }.status(), 503);
    }
}
