//! Workloads, as the dump has them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::mesh::{
    ApplicationTunnel, GatewayAddress, GatewayDestination, Locality, NetworkMode, Protocol, TunnelHeader,
    Workload,
};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadDump<'w> {
    uid: &'w str,
    name: &'w str,
    namespace: &'w str,
    service_account: &'w str,
    trust_domain: &'w str,
    workload_ips: &'w [IpAddr],
    hostname: &'w str,
    protocol: &'static str,
    network: &'w str,
    network_mode: &'static str,
    node: &'w str,
    cluster_id: &'w str,
    workload_name: &'w str,
    workload_type: &'w str,
    canonical_name: &'w str,
    canonical_revision: &'w str,
    locality: LocalityDump<'w>,
    status: &'static str,
    capacity: u32,
    services: BTreeMap<String, &'w BTreeMap<u16, u16>>,
    authorization_policies: Vec<&'w str>,
    native_tunnel: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_gateway: Option<GatewayDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_tunnel: Option<TunnelDump>,
}

#[derive(Debug, Serialize)]
struct LocalityDump<'w> {
    region: &'w str,
    zone: &'w str,
    subzone: &'w str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewayDump {
    destination: String,
    hbone_mtls_port: u16,
}

#[derive(Debug, Serialize)]
struct TunnelDump {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

pub(super) fn workload(workload: &Workload) -> WorkloadDump<'_> {
    WorkloadDump {
        uid: &workload.uid,
        name: &workload.name,
        namespace: workload.namespace(),
        service_account: workload.service_account(),
        trust_domain: workload.identity.trust_domain.as_str(),
        workload_ips: &workload.ips,
        hostname: &workload.hostname,
        protocol: match workload.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Hbone => "HBONE",
        },
        network: &workload.network,
        network_mode: match workload.network_mode {
            NetworkMode::Standard => "Standard",
            NetworkMode::HostNetwork => "HostNetwork",
        },
        node: &workload.node,
        cluster_id: &workload.cluster_id,
        workload_name: &workload.workload_name,
        workload_type: &workload.workload_type,
        canonical_name: &workload.canonical_name,
        canonical_revision: &workload.canonical_revision,
        locality: locality(&workload.locality),
        status: health(workload.healthy),
        capacity: workload.capacity,
        services: workload.services.iter().map(|(service, ports)| (service.to_string(), ports)).collect(),
        authorization_policies: workload.authorization_policies.iter().map(Arc::as_ref).collect(),
        native_tunnel: workload.native_tunnel,
        waypoint: workload.waypoint.as_ref().map(gateway),
        network_gateway: workload.network_gateway.as_ref().map(gateway),
        application_tunnel: workload.application_tunnel.as_ref().map(tunnel),
    }
}

pub(super) fn health(healthy: bool) -> &'static str {
    if healthy { "Healthy" } else { "Unhealthy" }
}

pub(super) fn gateway(gateway: &GatewayAddress) -> GatewayDump {
    let destination = match &gateway.destination {
        GatewayDestination::Address(address) => address.to_string(),
        GatewayDestination::Hostname(name) => name.to_string(),
    };
    GatewayDump { destination, hbone_mtls_port: gateway.hbone_port }
}

fn locality(locality: &Locality) -> LocalityDump<'_> {
    LocalityDump { region: &locality.region, zone: &locality.zone, subzone: &locality.subzone }
}

fn tunnel(tunnel: &ApplicationTunnel) -> TunnelDump {
    let protocol = match tunnel.header {
        TunnelHeader::None => "NONE",
        TunnelHeader::Proxy => "PROXY",
    };
    TunnelDump { protocol, port: tunnel.port }
}
