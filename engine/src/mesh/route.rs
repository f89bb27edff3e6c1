//! Where a connection that a pod makes goes.
//!
//! Whoever has the destination's address decides: a workload, else a service, else nobody, and then the connection is
//! passed through as it is. A destination that wants HBONE gets it or gets nothing: there is no way from here by which
//! a connection to it becomes a plain one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::balance::{Reach, choose};
use super::waypoint::is_gateway;
use super::{
    GatewayAddress, HBONE_PORT, Identity, Mode, NetworkAddress, Protocol, Refusal, Service, Snapshot,
    Workload, is_own_port,
};

/// What becomes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Hbone(HboneRoute),
    /// As it is, in plain TCP.
    Passthrough {
        target: SocketAddr,
        workload: Option<Arc<Workload>>,
        service: Option<Arc<Service>>,
    },
    Refuse(Refusal),
}

/// Through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HboneRoute {
    pub workload: Arc<Workload>,
    /// Where the peer's proxy listens.
    pub target: SocketAddr,
    /// What the CONNECT asks for.
    pub authority: SocketAddr,
    /// The peer must prove one of these: that of the workload, and what the service vouches for.
    pub identities: Vec<Identity>,
    /// The service that was asked for, if it was one.
    pub service: Option<Arc<Service>>,
}

/// Decides where a connection from `source` to `destination` goes; `entropy` picks among endpoints that are equally
/// good, and should be evenly distributed.
pub fn route(snapshot: &Snapshot, source: &Workload, destination: SocketAddr, entropy: u64) -> Route {
    let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    if destination.ip().is_loopback() && is_own_port(destination.port()) {
        return Route::Refuse(Refusal::SelfCall { destination });
    }
    match find(snapshot, source, destination.ip()) {
        Some(Found::Workload(workload)) => to_workload(snapshot, source, workload, destination),
        Some(Found::Service(service)) => to_service(snapshot, source, service, destination, entropy),
        None => Route::Passthrough { target: destination, workload: None, service: None },
    }
}

enum Found<'s> {
    Workload(&'s Arc<Workload>),
    Service(&'s Arc<Service>),
}

/// Who has an address, as the source sees it.
///
/// The source's network and this node's are the same unless somebody has configured one of them wrongly. Then both are
/// asked: not to know a workload that there is would mean plain TCP to it.
fn find<'s>(snapshot: &'s Snapshot, source: &Workload, ip: IpAddr) -> Option<Found<'s>> {
    [&source.network, &snapshot.settings().network].into_iter().find_map(|network| {
        let address = NetworkAddress::new(network, ip);
        let workload = || snapshot.workloads.by_address(&address).map(Found::Workload);
        let service = || snapshot.services.by_address(&address, source.namespace()).map(Found::Service);
        workload().or_else(service)
    })
}

/// The application asked for a workload by its own address.
fn to_workload(
    snapshot: &Snapshot,
    source: &Workload,
    workload: &Arc<Workload>,
    destination: SocketAddr,
) -> Route {
    if workload.network != source.network {
        return Route::Refuse(gateway_refusal(workload));
    }
    if let Some(waypoint) = needed(snapshot, source, workload.waypoint.iter()) {
        return Route::Refuse(Refusal::WaypointNeeded { destination, waypoint: waypoint.clone() });
    }
    connect(workload, destination, None)
}

/// The application asked for a service. The waypoints of its endpoints do not matter then, only the service's own.
fn to_service(
    snapshot: &Snapshot,
    source: &Workload,
    service: &Arc<Service>,
    destination: SocketAddr,
    entropy: u64,
) -> Route {
    if let Some(refusal) = service.refusal() {
        return Route::Refuse(refusal);
    }
    if let Some(waypoint) = needed(snapshot, source, service.waypoints()) {
        return Route::Refuse(Refusal::WaypointNeeded { destination, waypoint: waypoint.clone() });
    }
    if service.load_balancing.mode == Mode::Passthrough {
        let service = Some(Arc::clone(service));
        return Route::Passthrough { target: destination, workload: None, service };
    }
    let port = destination.port();
    if !service.ports.contains_key(&port) {
        return Route::Refuse(Refusal::NoSuchPort { service: service.key.clone(), port });
    }
    let Some(choice) = choose(snapshot, source, service, destination, entropy) else {
        return Route::Refuse(Refusal::NoHealthyUpstream { service: service.key.clone(), port });
    };
    match choice.reach {
        Reach::Directly(ip) => connect(choice.workload, SocketAddr::new(ip, choice.port), Some(service)),
        Reach::ThroughGateway => Route::Refuse(gateway_refusal(choice.workload)),
        Reach::ByHostname => Route::Refuse(Refusal::ResolutionNeeded {
            workload: Arc::clone(&choice.workload.uid),
            hostname: Arc::clone(&choice.workload.hostname),
        }),
    }
}

/// The first of the waypoints, unless there is none, or the source is one of them.
fn needed<'g>(
    snapshot: &Snapshot,
    source: &Workload,
    waypoints: impl Iterator<Item = &'g GatewayAddress>,
) -> Option<&'g GatewayAddress> {
    let mut first = None;
    for waypoint in waypoints {
        if is_gateway(snapshot, source, waypoint) {
            return None;
        }
        first.get_or_insert(waypoint);
    }
    first
}

/// To an address of a workload, the way it wants to be reached.
fn connect(workload: &Arc<Workload>, target: SocketAddr, service: Option<&Arc<Service>>) -> Route {
    let service = service.map(Arc::clone);
    if let Some(problem) = &workload.unreadable {
        let (workload, problem) = (Arc::clone(&workload.uid), Arc::clone(problem));
        return Route::Refuse(Refusal::Unreadable { workload, problem });
    }
    if workload.protocol == Protocol::Tcp {
        return Route::Passthrough { target, workload: Some(Arc::clone(workload)), service };
    }
    if workload.application_tunnel.is_some() {
        return Route::Refuse(Refusal::ApplicationTunnelNeeded { workload: Arc::clone(&workload.uid) });
    }
    let mut identities = vec![workload.identity.clone()];
    let vouched_for = service.iter().flat_map(|service| &service.subject_alt_names);
    identities.extend(vouched_for.filter(|identity| **identity != workload.identity).cloned());
    Route::Hbone(HboneRoute {
        workload: Arc::clone(workload),
        target: SocketAddr::new(target.ip(), HBONE_PORT),
        authority: target,
        identities,
        service,
    })
}

fn gateway_refusal(workload: &Workload) -> Refusal {
    let (uid, network) = (Arc::clone(&workload.uid), Arc::clone(&workload.network));
    match &workload.network_gateway {
        Some(gateway) => Refusal::GatewayNeeded { workload: uid, network, gateway: gateway.clone() },
        None => Refusal::NoGateway { workload: uid, network },
    }
}

#[cfg(test)]
mod tests;
