//! Which endpoint of a service a connection goes to.
//!
//! Candidates are the endpoints that are healthy, serve the port and have capacity. Of these only the best count: first
//! those that we can reach ourselves (endpoints behind a gateway of another network, or known by hostname only, are
//! left for when there are no others), then by the service's locality preferences. Among the best the entropy decides,
//! weighted by capacity. The endpoints are walked twice instead of being collected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{LoadBalancing, LocalityScope, Mode, Service, Snapshot, Workload};

/// The endpoint of choice, and its own port for what was asked of the service.
pub(super) struct Choice<'s> {
    pub(super) workload: &'s Arc<Workload>,
    pub(super) reach: Reach,
    pub(super) port: u16,
}

/// How an endpoint can be reached. Later ones are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    ThroughGateway,
    ByHostname,
    Directly(IpAddr),
}

struct Candidate<'s> {
    choice: Choice<'s>,
    rank: Rank,
}

/// Whether it is directly reachable, then how well its locality matches.
type Rank = (bool, usize);

pub(super) fn choose<'s>(
    snapshot: &'s Snapshot,
    source: &Workload,
    service: &Service,
    destination: SocketAddr,
    entropy: u64,
) -> Option<Choice<'s>> {
    let candidates = || {
        let endpoints = snapshot.workloads.endpoints(&service.key);
        endpoints.filter_map(|endpoint| candidate(source, service, endpoint, destination))
    };
    let mut best = None;
    let mut total: u64 = 0;
    for candidate in candidates() {
        if best.is_none_or(|best| candidate.rank > best) {
            best = Some(candidate.rank);
            total = 0;
        }
        if best == Some(candidate.rank) {
            // Fewer than 2^32 endpoints of at most 2^32 each.
            total += u64::from(candidate.choice.workload.capacity);
        }
    }
    let mut left = scale(entropy, total);
    for candidate in candidates().filter(|candidate| Some(candidate.rank) == best) {
        let capacity = u64::from(candidate.choice.workload.capacity);
        if left < capacity {
            return Some(candidate.choice);
        }
        left -= capacity;
    }
    None
}

/// An even share of `0..total` for evenly distributed entropy.
fn scale(entropy: u64, total: u64) -> u64 {
    ((u128::from(entropy) * u128::from(total)) >> 64) as u64
}

fn candidate<'s>(
    source: &Workload,
    service: &Service,
    endpoint: &'s Arc<Workload>,
    destination: SocketAddr,
) -> Option<Candidate<'s>> {
    let balancing = &service.load_balancing;
    if endpoint.capacity == 0 || !(endpoint.healthy || balancing.allow_unhealthy) {
        return None;
    }
    let reach = reach(source, service, endpoint, destination.ip())?;
    let rank = (matches!(reach, Reach::Directly(_)), locality_rank(balancing, source, endpoint)?);
    let port = target_port(service, endpoint, destination.port())?;
    Some(Candidate { choice: Choice { workload: endpoint, reach, port }, rank })
}

/// The endpoint's own mapping, else the service's; 0 is no port but the mark of one that only endpoints know.
pub fn target_port(service: &Service, endpoint: &Workload, port: u16) -> Option<u16> {
    let own = endpoint.services.get(&service.key).and_then(|ports| ports.get(&port));
    let shared = service.ports.get(&port);
    own.into_iter().chain(shared).copied().find(|port| *port > 0)
}

fn reach(source: &Workload, service: &Service, endpoint: &Workload, asked: IpAddr) -> Option<Reach> {
    let has_address = !endpoint.ips.is_empty() || !endpoint.hostname.is_empty();
    if endpoint.network != source.network {
        return (has_address || endpoint.network_gateway.is_some()).then_some(Reach::ThroughGateway);
    }
    match address(service, endpoint, asked) {
        Some(ip) => Some(Reach::Directly(ip)),
        None if !endpoint.hostname.is_empty() => Some(Reach::ByHostname),
        None => None,
    }
}

/// The very address that was asked for, else one of the service's families, best of the family that was asked for.
fn address(service: &Service, endpoint: &Workload, asked: IpAddr) -> Option<IpAddr> {
    if endpoint.ips.contains(&asked) {
        return Some(asked);
    }
    let mut accepted = endpoint.ips.iter().copied().filter(|ip| service.ip_families.accept(*ip));
    let first = accepted.clone().next();
    accepted.find(|ip| ip.is_ipv6() == asked.is_ipv6()).or(first)
}

/// How many preferences the endpoint matches, in order, up to the first that it does not; none if it must not be used.
///
/// NETWORK in the first place is a wish of its own: an endpoint on the same network is better than any on another, and
/// the preferences after it still count for those on another.
fn locality_rank(balancing: &LoadBalancing, source: &Workload, endpoint: &Workload) -> Option<usize> {
    if matches!(balancing.mode, Mode::Standard | Mode::Passthrough) {
        return Some(0);
    }
    let preferences = balancing.preferences.as_slice();
    let (network, scopes) = match preferences {
        [LocalityScope::Network, rest @ ..] => (Some(source.network == endpoint.network), rest),
        all => (None, all),
    };
    let matched = scopes.iter().take_while(|scope| scope.matches(source, endpoint)).count();
    if balancing.mode == Mode::Strict && (matched < scopes.len() || network == Some(false)) {
        return None;
    }
    let bonus = if network == Some(true) { preferences.len() } else { 0 };
    Some(matched + bonus)
}

impl LocalityScope {
    fn matches(self, source: &Workload, endpoint: &Workload) -> bool {
        match self {
            Self::Region => source.locality.region == endpoint.locality.region,
            Self::Zone => source.locality.zone == endpoint.locality.zone,
            Self::Subzone => source.locality.subzone == endpoint.locality.subzone,
            Self::Node => source.node == endpoint.node,
            Self::Cluster => source.cluster_id == endpoint.cluster_id,
            Self::Network => source.network == endpoint.network,
        }
    }
}

#[cfg(test)]
mod tests;
