//! A workload as a control plane sends it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::mesh::{ApplicationTunnel, Locality, NetworkMode, Protocol, ServiceName, TunnelHeader, Workload};
use proto::workload::{self as message, application_tunnel};
use tracing::debug;

use super::interned::Interned;
use super::unread::{Faults, Unread};
use super::values::{gateway, ip, known, port, ports};

/// Takes over all of it, or says what is wrong and gives a workload that nobody is connected to: to one that is not
/// known at all connections would be plain. What only describes it may be left out.
pub(crate) fn read(
    workload: message::Workload,
    interned: &mut Interned,
) -> Result<Workload, Unread<Workload>> {
    let mut faults = Faults::default();
    let workload = whole(workload, interned, &mut faults)?;
    let Some(problem) = faults.first else { return Ok(workload) };
    let hidden = workload.protocol == Protocol::Hbone && !workload.ips.is_empty();
    let unreadable = Some(Arc::from(&*problem));
    // No service is to choose it.
    let refused = Workload { unreadable, services: BTreeMap::new(), healthy: false, ..workload };
    Err(Unread { problem, instead: hidden.then(|| Box::new(refused)) })
}

/// In the place of an application tunnel that cannot be read: its workload's own proxy takes no connection either.
const UNKNOWN: ApplicationTunnel = ApplicationTunnel { header: TunnelHeader::Proxy, port: None };

fn whole(
    workload: message::Workload,
    interned: &mut Interned,
    faults: &mut Faults,
) -> Result<Workload, String> {
    let ips: Vec<IpAddr> = workload.addresses.iter().filter_map(|bytes| faults.of(ip(bytes))).collect();
    let waypoint = workload.waypoint.as_ref().map(|waypoint| gateway(waypoint, interned));
    let network_gateway = workload.network_gateway.as_ref().map(|at| gateway(at, interned));
    Ok(Workload {
        uid: uid(&workload.uid, &ips)?,
        identity: interned.identity(&workload.trust_domain, &workload.namespace, &workload.service_account),
        network: interned.text(&workload.network),
        hostname: interned.text(&workload.hostname),
        // A way that nobody knows is not plain.
        protocol: faults.of(protocol(workload.tunnel_protocol)).unwrap_or(Protocol::Hbone),
        network_mode: match faults.of(known("network_mode", workload.network_mode)) {
            Some(message::NetworkMode::Standard) | None => NetworkMode::Standard,
            Some(message::NetworkMode::HostNetwork) => NetworkMode::HostNetwork,
        },
        node: interned.text(&workload.node),
        cluster_id: interned.cluster(&workload.cluster_id),
        locality: locality(workload.locality.clone().unwrap_or_default(), interned),
        workload_name: interned.text(&workload.workload_name),
        workload_type: interned.text(workload_type(&workload)),
        canonical_name: interned.text(&workload.canonical_name),
        canonical_revision: interned.text(&workload.canonical_revision),
        waypoint: waypoint.and_then(|waypoint| faults.of(waypoint)),
        network_gateway: network_gateway.and_then(|gateway| faults.of(gateway)),
        application_tunnel: workload.application_tunnel.map(|of| faults.of(tunnel(of)).unwrap_or(UNKNOWN)),
        native_tunnel: workload.native_tunnel,
        unreadable: None,
        authorization_policies: workload
            .authorization_policies
            .iter()
            .map(|key| interned.text(key))
            .collect(),
        healthy: is_healthy(&workload),
        capacity: workload.capacity.unwrap_or(1),
        services: services(&workload, interned),
        name: Arc::from(workload.name),
        ips,
    })
}

/// Those that can be read. A service that is not known by its name is not asked for by it.
fn services(
    workload: &message::Workload,
    interned: &mut Interned,
) -> BTreeMap<ServiceName, BTreeMap<u16, u16>> {
    let mut read = |name: &str, list: &message::PortList| {
        let name: ServiceName = name.parse().map_err(|error| format!("{error}"))?;
        Ok::<_, String>((interned.service(&name.namespace, &name.hostname), ports(&list.ports)?))
    };
    let services = workload.services.iter().filter_map(|(name, list)| {
        let tell = |problem: &String| debug!(uid = workload.uid, service = name, problem, "is passed over");
        read(name, list).inspect_err(tell).ok()
    });
    services.collect()
}

/// The address where there is none (contract 9.5): two workloads without a uid are two workloads.
fn uid(uid: &str, ips: &[IpAddr]) -> Result<Arc<str>, String> {
    match (uid, ips.first()) {
        ("", Some(ip)) => Ok(Arc::from(ip.to_string())),
        ("", None) => Err("it has neither a uid nor an address".to_owned()),
        (uid, _) => Ok(Arc::from(uid)),
    }
}

/// Istio's older mTLS is not ours to speak: such a workload is sent what it would be sent without a mesh.
fn protocol(number: i32) -> Result<Protocol, String> {
    Ok(match known("tunnel_protocol", number)? {
        message::TunnelProtocol::None | message::TunnelProtocol::LegacyIstioMtls => Protocol::Tcp,
        message::TunnelProtocol::Hbone => Protocol::Hbone,
    })
}

/// A label, and no more.
fn workload_type(workload: &message::Workload) -> &'static str {
    match known("workload_type", workload.workload_type) {
        Ok(message::WorkloadType::Deployment) => "deployment",
        Ok(message::WorkloadType::Cronjob) => "cronjob",
        Ok(message::WorkloadType::Pod) => "pod",
        Ok(message::WorkloadType::Job) => "job",
        Err(problem) => {
            debug!(uid = workload.uid, problem, "taken for a deployment");
            "deployment"
        }
    }
}

fn is_healthy(workload: &message::Workload) -> bool {
    match known::<message::WorkloadStatus>("status", workload.status) {
        Ok(status) => status == message::WorkloadStatus::Healthy,
        Err(problem) => {
            debug!(uid = workload.uid, problem, "taken for healthy");
            true
        }
    }
}

fn locality(locality: message::Locality, interned: &mut Interned) -> Locality {
    Locality {
        region: interned.text(&locality.region),
        zone: interned.text(&locality.zone),
        subzone: interned.text(&locality.subzone),
    }
}

fn tunnel(tunnel: message::ApplicationTunnel) -> Result<ApplicationTunnel, String> {
    let header = match known("application_tunnel", tunnel.protocol)? {
        application_tunnel::Protocol::None => TunnelHeader::None,
        application_tunnel::Protocol::Proxy => TunnelHeader::Proxy,
    };
    Ok(ApplicationTunnel { header, port: Some(port(tunnel.port)?).filter(|port| *port != 0) })
}

#[cfg(test)]
mod tests;
