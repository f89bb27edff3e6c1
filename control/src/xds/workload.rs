//! A workload as a control plane sends it.

use std::net::IpAddr;
use std::sync::Arc;

use engine::mesh::{ApplicationTunnel, Locality, NetworkMode, Protocol, ServiceName, TunnelHeader, Workload};
use proto::workload::{self as message, application_tunnel};

use super::interned::Interned;
use super::values::{gateway, ip, known, port, ports};

/// Takes over all of it or nothing: a workload of which a part is skipped is another workload.
pub(super) fn read(workload: message::Workload, interned: &mut Interned) -> Result<Workload, String> {
    let ips: Vec<IpAddr> = workload.addresses.iter().map(|bytes| ip(bytes)).collect::<Result<_, _>>()?;
    let services = workload.services.iter().map(|(name, list)| {
        let name: ServiceName = name.parse().map_err(|error| format!("{error}"))?;
        Ok((interned.service(&name.namespace, &name.hostname), ports(&list.ports)?))
    });
    let services = services.collect::<Result<_, String>>()?;
    let waypoint = workload.waypoint.as_ref().map(|waypoint| gateway(waypoint, interned));
    let network_gateway = workload.network_gateway.as_ref().map(|at| gateway(at, interned));
    Ok(Workload {
        uid: uid(&workload.uid, &ips)?,
        identity: interned.identity(&workload.trust_domain, &workload.namespace, &workload.service_account),
        name: Arc::from(workload.name),
        network: interned.text(&workload.network),
        hostname: interned.text(&workload.hostname),
        protocol: protocol(workload.tunnel_protocol)?,
        network_mode: match known("network_mode", workload.network_mode)? {
            message::NetworkMode::Standard => NetworkMode::Standard,
            message::NetworkMode::HostNetwork => NetworkMode::HostNetwork,
        },
        node: interned.text(&workload.node),
        cluster_id: interned.cluster(&workload.cluster_id),
        locality: locality(workload.locality.unwrap_or_default(), interned),
        workload_name: interned.text(&workload.workload_name),
        workload_type: interned.text(workload_type(workload.workload_type)?),
        canonical_name: interned.text(&workload.canonical_name),
        canonical_revision: interned.text(&workload.canonical_revision),
        waypoint: waypoint.transpose()?,
        network_gateway: network_gateway.transpose()?,
        application_tunnel: workload.application_tunnel.map(tunnel).transpose()?,
        native_tunnel: workload.native_tunnel,
        authorization_policies: workload
            .authorization_policies
            .iter()
            .map(|key| interned.text(key))
            .collect(),
        healthy: known::<message::WorkloadStatus>("status", workload.status)?
            == message::WorkloadStatus::Healthy,
        capacity: workload.capacity.unwrap_or(1),
        services,
        ips,
    })
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

fn workload_type(number: i32) -> Result<&'static str, String> {
    Ok(match known("workload_type", number)? {
        message::WorkloadType::Deployment => "deployment",
        message::WorkloadType::Cronjob => "cronjob",
        message::WorkloadType::Pod => "pod",
        message::WorkloadType::Job => "job",
    })
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
