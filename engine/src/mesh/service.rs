//! A service: one name and its virtual addresses for many workloads.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{GatewayAddress, Identity, NetworkAddress, NetworkCidr, Refusal, ServiceName};

/// One service. Its endpoints are the workloads that name it in their `services`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Arc<str>,
    /// Namespace and hostname: the key.
    pub key: ServiceName,
    pub vips: Vec<NetworkAddress>,
    pub cidr_vips: Vec<NetworkCidr>,
    /// Service port to target port; 0 where the target port is named and each endpoint knows its own.
    pub ports: BTreeMap<u16, u16>,
    /// Accepted from its endpoints beside the identity of the workload itself.
    pub subject_alt_names: Vec<Identity>,
    pub waypoint: Option<GatewayAddress>,
    /// Where not empty, one of these is drawn per connection, and `waypoint` is only for those who cannot.
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    pub load_balancing: LoadBalancing,
    pub ip_families: IpFamilies,
    /// Preferred where several namespaces describe the same address or hostname.
    pub canonical: bool,
    pub visibility: Visibility,
    /// What of it could not be read. Nobody is connected to it then: without it, its addresses would be nobody's, and
    /// connections to them plain.
    pub unreadable: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedWaypoint {
    pub gateway: GatewayAddress,
    pub weight: u32,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancing {
    pub mode: Mode,
    /// In order of importance.
    pub preferences: Vec<LocalityScope>,
    /// Also send to endpoints that are not healthy.
    pub allow_unhealthy: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Any endpoint.
    #[default]
    Standard,
    /// Only endpoints that match every preference.
    Strict,
    /// The endpoints that match the most preferences.
    Failover,
    /// No choice: the connection goes to the address the application asked for.
    Passthrough,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalityScope {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

/// The address families of a service; an endpoint is only reached by an address of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamilies {
    #[default]
    Any,
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    #[default]
    Public,
    /// Only for clients of the service's own namespace.
    Namespace,
}

// === impl Service ===

impl Service {
    pub fn visible_to(&self, namespace: &str) -> bool {
        self.visibility == Visibility::Public || *self.key.namespace == *namespace
    }

    /// Why nobody is connected to it, if it could not be read.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let problem = Arc::clone(self.unreadable.as_ref()?);
        Some(Refusal::UnreadableService { service: self.key.clone(), problem })
    }

    /// The waypoints a connection to this service may be sent through; none if it goes to the endpoints directly.
    ///
    /// Weights that are all zero cannot be drawn from, and leave `waypoint`.
    pub fn waypoints(&self) -> impl Iterator<Item = &GatewayAddress> {
        let drawn = self.weighted_waypoints.iter().filter(|candidate| candidate.weight > 0);
        let single = if drawn.clone().next().is_none() { self.waypoint.as_ref() } else { None };
        drawn.map(|candidate| &candidate.gateway).chain(single)
    }

    /// The one that a client in `namespace` means when several services go by the same address or hostname: one of its
    /// own namespace, else a canonical one, else the first. Hidden ones are no candidates.
    pub(super) fn preferred<'s>(
        candidates: impl Iterator<Item = &'s Arc<Self>>,
        namespace: &str,
    ) -> Option<&'s Arc<Self>> {
        let mut best: Option<((bool, bool), &Arc<Self>)> = None;
        for service in candidates.filter(|service| service.visible_to(namespace)) {
            let rank = (*service.key.namespace == *namespace, service.canonical);
            if best.is_none_or(|(best_rank, _)| rank > best_rank) {
                best = Some((rank, service));
            }
        }
        best.map(|(_, service)| service)
    }
}

// === impl IpFamilies ===

impl IpFamilies {
    pub fn accept(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{gateway, service};
    use super::*;

    #[test]
    fn the_preferred_service_is_of_the_clients_namespace_then_canonical_then_first() {
        struct Case {
            says: &'static str,
            /// namespace, canonical, hidden
            services: &'static [(&'static str, bool, bool)],
            client: &'static str,
            expected: Option<&'static str>,
        }
        let cases = [
            Case { says: "nobody", services: &[], client: "a", expected: None },
            Case {
                says: "the first of equals",
                services: &[("b", false, false), ("c", false, false)],
                client: "a",
                expected: Some("b"),
            },
            Case {
                says: "a canonical one",
                services: &[("b", false, false), ("c", true, false)],
                client: "a",
                expected: Some("c"),
            },
            Case {
                says: "the own namespace before a canonical one",
                services: &[("b", true, false), ("a", false, false)],
                client: "a",
                expected: Some("a"),
            },
            Case {
                says: "a hidden one is for its own namespace",
                services: &[("a", false, true), ("b", false, false)],
                client: "a",
                expected: Some("a"),
            },
            Case {
                says: "and nobody else's, canonical or not",
                services: &[("b", true, true), ("c", false, false)],
                client: "a",
                expected: Some("c"),
            },
            Case { says: "all hidden", services: &[("b", true, true)], client: "a", expected: None },
        ];
        for case in cases {
            let services: Vec<Arc<Service>> = case
                .services
                .iter()
                .map(|(namespace, canonical, hidden)| {
                    let mut service = service(&format!("{namespace}/cart"));
                    service.canonical = *canonical;
                    service.visibility = if *hidden { Visibility::Namespace } else { Visibility::Public };
                    Arc::new(service)
                })
                .collect();
            let found = Service::preferred(services.iter(), case.client).map(|s| &*s.key.namespace);
            assert_eq!(found, case.expected, "{}", case.says);
        }
    }

    #[test]
    fn weighted_waypoints_come_before_the_single_one_unless_all_weigh_nothing() {
        let of = |service: &Service| service.waypoints().map(ToString::to_string).collect::<Vec<_>>();
        let mut cart = service("shop/cart");
        assert!(of(&cart).is_empty());

        cart.waypoint = Some(gateway("/10.0.0.9"));
        assert_eq!(of(&cart), ["/10.0.0.9 port 15008"]);

        cart.weighted_waypoints = vec![WeightedWaypoint { gateway: gateway("/10.0.0.7"), weight: 0 }];
        assert_eq!(of(&cart), ["/10.0.0.9 port 15008"]);

        cart.weighted_waypoints.push(WeightedWaypoint { gateway: gateway("/10.0.0.8"), weight: 1 });
        assert_eq!(of(&cart), ["/10.0.0.8 port 15008"]);
    }
}
