//! A service as a control plane sends it.

use std::net::IpAddr;
use std::sync::Arc;

use engine::mesh::{
    Identity, IpFamilies, LoadBalancing, LocalityScope, Mode, NetworkAddress, NetworkCidr, Service,
    Visibility, WeightedWaypoint,
};
use ipnet::IpNet;
use proto::workload::{self as message, load_balancing, service};
use tracing::debug;

use super::interned::Interned;
use super::unread::{Faults, Unread};
use super::values::{block, gateway, ip, known, ports};

/// Takes over all of it, but for names that no workload can prove; or says what is wrong and gives a service that nobody
/// is connected to, with the addresses that could be read: otherwise these would be nobody's, and connections plain.
pub(crate) fn read(service: message::Service, interned: &mut Interned) -> Result<Service, Unread<Service>> {
    if service.hostname.is_empty() {
        return Err("it has no hostname".to_owned().into());
    }
    let mut faults = Faults::default();
    let service = whole(service, interned, &mut faults);
    let Some(problem) = faults.first else { return Ok(service) };
    let hidden = !service.vips.is_empty() || !service.cidr_vips.is_empty();
    let refused = Service { unreadable: Some(Arc::from(&*problem)), ..service };
    Err(Unread { problem, instead: hidden.then(|| Box::new(refused)) })
}

fn whole(service: message::Service, interned: &mut Interned, faults: &mut Faults) -> Service {
    let (mut vips, mut cidr_vips) = (Vec::new(), Vec::new());
    for address in &service.addresses {
        match faults.of(at(address)) {
            Some(Ok(ip)) => vips.push(NetworkAddress::new(&interned.text(&address.network), ip)),
            Some(Err(cidr)) => cidr_vips.push(NetworkCidr { network: interned.text(&address.network), cidr }),
            None => {}
        }
    }
    let mut weighted_waypoints = Vec::new();
    for candidate in &service.weighted_waypoints {
        let to =
            candidate.destination.as_ref().ok_or_else(|| "a weighted waypoint has no destination".to_owned());
        let gateway = faults.of(to.and_then(|to| gateway(to, interned)));
        weighted_waypoints
            .extend(gateway.map(|gateway| WeightedWaypoint { gateway, weight: candidate.weight }));
    }
    let waypoint = service.waypoint.as_ref().and_then(|waypoint| faults.of(gateway(waypoint, interned)));
    let load_balancing = service.load_balancing.and_then(|way| faults.of(balancing(way))).unwrap_or_default();
    Service {
        key: interned.service(&service.namespace, &service.hostname),
        vips,
        cidr_vips,
        ports: faults.of(ports(&service.ports)).unwrap_or_default(),
        subject_alt_names: service.subject_alt_names.iter().filter_map(|name| provable(name)).collect(),
        waypoint,
        weighted_waypoints,
        load_balancing,
        ip_families: match faults.of(known("ip_families", service.ip_families)) {
            Some(message::IpFamilies::Automatic | message::IpFamilies::Dual) | None => IpFamilies::Any,
            Some(message::IpFamilies::Ipv4Only) => IpFamilies::V4,
            Some(message::IpFamilies::Ipv6Only) => IpFamilies::V6,
        },
        canonical: service.canonical,
        visibility: match faults.of(known("visibility", service.visibility)) {
            Some(service::Visibility::Public) | None => Visibility::Public,
            Some(service::Visibility::Namespace) => Visibility::Namespace,
        },
        unreadable: None,
        name: Arc::from(service.name),
    }
}

/// One address, or else a block of them.
fn at(address: &message::NetworkAddress) -> Result<Result<IpAddr, IpNet>, String> {
    let ip = ip(&address.address)?;
    let Some(length) = address.length else { return Ok(Ok(ip)) };
    let cidr = block(&address.address, length)?;
    Ok(if cidr.prefix_len() == cidr.max_prefix_len() { Ok(ip) } else { Err(cidr.trunc()) })
}

fn provable(name: &str) -> Option<Identity> {
    name.parse().inspect_err(|error| debug!("a subject_alt_name of a service is passed over: {error}")).ok()
}

fn balancing(balancing: message::LoadBalancing) -> Result<LoadBalancing, String> {
    use load_balancing::{HealthPolicy, Mode as Way, Scope};
    let scope = |number: &i32| match known("routing_preference", *number) {
        Ok(Scope::UnspecifiedScope) => None,
        Ok(Scope::Region) => Some(Ok(LocalityScope::Region)),
        Ok(Scope::Zone) => Some(Ok(LocalityScope::Zone)),
        Ok(Scope::Subzone) => Some(Ok(LocalityScope::Subzone)),
        Ok(Scope::Node) => Some(Ok(LocalityScope::Node)),
        Ok(Scope::Cluster) => Some(Ok(LocalityScope::Cluster)),
        Ok(Scope::Network) => Some(Ok(LocalityScope::Network)),
        Err(problem) => Some(Err(problem)),
    };
    Ok(LoadBalancing {
        mode: match known("load_balancing mode", balancing.mode)? {
            Way::UnspecifiedMode => Mode::Standard,
            Way::Strict => Mode::Strict,
            Way::Failover => Mode::Failover,
            Way::Passthrough => Mode::Passthrough,
        },
        preferences: balancing.routing_preference.iter().filter_map(scope).collect::<Result<_, _>>()?,
        allow_unhealthy: known::<HealthPolicy>("health_policy", balancing.health_policy)?
            == HealthPolicy::AllowAll,
    })
}

#[cfg(test)]
mod tests;
