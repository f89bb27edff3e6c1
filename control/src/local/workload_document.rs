//! A workload as it is written in the file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::mesh::{
    ApplicationTunnel, GatewayAddress, GatewayDestination, Locality, MeshSettings, NetworkMode, Protocol,
    ServiceName, TunnelHeader, Workload,
};
use serde::Deserialize;

use super::scalar::{Port, PortMap, Written, plain};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a workload: a map of its fields")]
pub(super) struct WorkloadDocument {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    name: String,
    namespace: String,
    #[serde(default)]
    service_account: String,
    #[serde(default)]
    trust_domain: String,
    #[serde(default)]
    workload_ips: Vec<Written<IpAddr>>,
    #[serde(default)]
    protocol: ProtocolDocument,
    #[serde(default)]
    network_mode: NetworkModeDocument,
    #[serde(default)]
    node: String,
    #[serde(default)]
    network: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    cluster_id: String,
    #[serde(default)]
    canonical_name: String,
    #[serde(default)]
    canonical_revision: String,
    #[serde(default)]
    workload_name: String,
    #[serde(default)]
    workload_type: String,
    #[serde(default)]
    waypoint: Option<GatewayDocument>,
    #[serde(default)]
    network_gateway: Option<GatewayDocument>,
    #[serde(default)]
    native_tunnel: bool,
    #[serde(default)]
    application_tunnel: Option<TunnelDocument>,
    #[serde(default)]
    authorization_policies: Vec<String>,
    #[serde(default)]
    status: HealthDocument,
    #[serde(default)]
    locality: LocalityDocument,
    #[serde(default = "one")]
    capacity: u32,
    #[serde(default)]
    services: BTreeMap<Written<ServiceName>, PortMap>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum ProtocolDocument {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "HBONE")]
    Hbone,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum NetworkModeDocument {
    #[default]
    Standard,
    HostNetwork,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum HealthDocument {
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of destination and hboneMtlsPort")]
pub(super) struct GatewayDocument {
    destination: Written<GatewayDestination>,
    hbone_mtls_port: Port,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of protocol and port")]
struct TunnelDocument {
    protocol: TunnelProtocolDocument,
    #[serde(default)]
    port: Option<Port>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum TunnelProtocolDocument {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "PROXY")]
    Proxy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of region, zone and subzone")]
struct LocalityDocument {
    #[serde(default)]
    region: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    subzone: String,
}

fn one() -> u32 {
    1
}

impl WorkloadDocument {
    /// What is left out is the mesh's: trust domain, cluster; or Kubernetes' default: service account, type.
    pub(super) fn into_workload(self, settings: &MeshSettings) -> Result<Workload, String> {
        let cluster_id = or(self.cluster_id, &settings.cluster_id);
        let uid = match (self.uid.as_str(), self.name.as_str()) {
            ("", "") => {
                let problem = "has neither a uid nor a name: give it a uid that no other workload has";
                return Err(format!("a workload of namespace `{}` {problem}", self.namespace));
            }
            ("", name) => Arc::from(format!("{cluster_id}//Pod/{}/{name}", self.namespace)),
            (uid, _) => Arc::from(uid),
        };
        Ok(Workload {
            uid,
            name: self.name.into(),
            identity: settings.identity(&self.trust_domain, &self.namespace, &self.service_account),
            network: self.network.into(),
            ips: self.workload_ips.into_iter().map(|ip| ip.0).collect(),
            hostname: self.hostname.into(),
            protocol: match self.protocol {
                ProtocolDocument::Tcp => Protocol::Tcp,
                ProtocolDocument::Hbone => Protocol::Hbone,
            },
            network_mode: match self.network_mode {
                NetworkModeDocument::Standard => NetworkMode::Standard,
                NetworkModeDocument::HostNetwork => NetworkMode::HostNetwork,
            },
            node: self.node.into(),
            cluster_id,
            locality: self.locality.into(),
            workload_name: self.workload_name.into(),
            workload_type: or(self.workload_type, "deployment"),
            canonical_name: self.canonical_name.into(),
            canonical_revision: self.canonical_revision.into(),
            waypoint: self.waypoint.map(Into::into),
            network_gateway: self.network_gateway.map(Into::into),
            application_tunnel: self.application_tunnel.map(Into::into),
            native_tunnel: self.native_tunnel,
            unreadable: None,
            authorization_policies: self.authorization_policies.into_iter().map(Into::into).collect(),
            healthy: self.status == HealthDocument::Healthy,
            capacity: self.capacity,
            services: self.services.into_iter().map(|(service, ports)| (service.0, plain(ports))).collect(),
        })
    }
}

fn or(text: String, default: &str) -> Arc<str> {
    if text.is_empty() { Arc::from(default) } else { Arc::from(text) }
}

impl From<GatewayDocument> for GatewayAddress {
    fn from(document: GatewayDocument) -> Self {
        Self { destination: document.destination.0, hbone_port: document.hbone_mtls_port.0 }
    }
}

impl From<TunnelDocument> for ApplicationTunnel {
    fn from(document: TunnelDocument) -> Self {
        let header = match document.protocol {
            TunnelProtocolDocument::None => TunnelHeader::None,
            TunnelProtocolDocument::Proxy => TunnelHeader::Proxy,
        };
        Self { header, port: document.port.map(|port| port.0) }
    }
}

impl From<LocalityDocument> for Locality {
    fn from(document: LocalityDocument) -> Self {
        Self { region: document.region.into(), zone: document.zone.into(), subzone: document.subzone.into() }
    }
}
