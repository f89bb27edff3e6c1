//! A service as a control plane sends it.

use std::sync::Arc;

use engine::mesh::{
    Identity, IpFamilies, LoadBalancing, LocalityScope, Mode, NetworkAddress, NetworkCidr, Service,
    Visibility, WeightedWaypoint,
};
use proto::workload::{self as message, load_balancing, service};
use tracing::debug;

use super::interned::Interned;
use super::values::{block, gateway, ip, known, ports};

/// Takes over all of it or nothing, but for names that no workload can prove.
pub(super) fn read(service: message::Service, interned: &mut Interned) -> Result<Service, String> {
    if service.hostname.is_empty() {
        return Err("it has no hostname".to_owned());
    }
    let (mut vips, mut cidr_vips) = (Vec::new(), Vec::new());
    for address in &service.addresses {
        let (network, ip) = (interned.text(&address.network), ip(&address.address)?);
        match address.length {
            None => vips.push(NetworkAddress::new(&network, ip)),
            Some(length) => {
                let cidr = block(&address.address, length)?;
                match cidr.prefix_len() == cidr.max_prefix_len() {
                    true => vips.push(NetworkAddress::new(&network, ip)),
                    false => cidr_vips.push(NetworkCidr { network, cidr: cidr.trunc() }),
                }
            }
        }
    }
    let weighted = service.weighted_waypoints.iter().map(|candidate| {
        let to = candidate.destination.as_ref().ok_or("a weighted waypoint has no destination")?;
        Ok(WeightedWaypoint { gateway: gateway(to, interned)?, weight: candidate.weight })
    });
    let weighted_waypoints = weighted.collect::<Result<_, String>>()?;
    let waypoint = service.waypoint.as_ref().map(|waypoint| gateway(waypoint, interned));
    Ok(Service {
        key: interned.service(&service.namespace, &service.hostname),
        vips,
        cidr_vips,
        ports: ports(&service.ports)?,
        subject_alt_names: service.subject_alt_names.iter().filter_map(|name| provable(name)).collect(),
        waypoint: waypoint.transpose()?,
        weighted_waypoints,
        load_balancing: service.load_balancing.map(balancing).transpose()?.unwrap_or_default(),
        ip_families: match known("ip_families", service.ip_families)? {
            message::IpFamilies::Automatic | message::IpFamilies::Dual => IpFamilies::Any,
            message::IpFamilies::Ipv4Only => IpFamilies::V4,
            message::IpFamilies::Ipv6Only => IpFamilies::V6,
        },
        canonical: service.canonical,
        visibility: match known("visibility", service.visibility)? {
            service::Visibility::Public => Visibility::Public,
            service::Visibility::Namespace => Visibility::Namespace,
        },
        name: Arc::from(service.name),
    })
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
