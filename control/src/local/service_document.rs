//! A service as it is written in the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::mesh::{
    Identity, IpFamilies, LoadBalancing, LocalityScope, Mode, NetworkAddress, NetworkCidr, Service,
    ServiceName, Visibility, WeightedWaypoint,
};
use ipnet::IpNet;
use serde::Deserialize;

use super::scalar::{PortMap, Written, plain};
use super::workload_document::{GatewayDocument, HealthDocument};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a service: a map of its fields")]
pub(super) struct ServiceDocument {
    #[serde(default)]
    name: String,
    namespace: String,
    hostname: String,
    #[serde(default)]
    vips: Vec<Written<NetworkAddress>>,
    #[serde(default)]
    cidr_vips: Vec<CidrDocument>,
    #[serde(default)]
    ports: PortMap,
    /// Beside the workloads that name the service.
    #[serde(default)]
    pub(super) endpoints: BTreeMap<String, EndpointDocument>,
    #[serde(default)]
    subject_alt_names: Vec<String>,
    #[serde(default)]
    waypoint: Option<GatewayDocument>,
    #[serde(default)]
    weighted_waypoints: Vec<WeightedDocument>,
    #[serde(default)]
    load_balancer: Option<LoadBalancerDocument>,
    #[serde(default)]
    ip_families: Option<IpFamiliesDocument>,
    #[serde(default)]
    canonical: bool,
    #[serde(default)]
    visibility: VisibilityDocument,
}

/// An endpoint that is written with the service instead of with the workload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of workloadUid, port and status")]
pub(super) struct EndpointDocument {
    pub(super) workload_uid: String,
    #[serde(default)]
    pub(super) port: PortMap,
    #[serde(default)]
    pub(super) status: HealthDocument,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of network and cidr")]
struct CidrDocument {
    network: String,
    cidr: Written<IpNet>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of destination and weight")]
struct WeightedDocument {
    destination: GatewayDocument,
    weight: u32,
}

#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a map of routingPreferences, mode and healthPolicy"
)]
struct LoadBalancerDocument {
    #[serde(default)]
    routing_preferences: Vec<ScopeDocument>,
    #[serde(default)]
    mode: ModeDocument,
    #[serde(default)]
    health_policy: HealthPolicyDocument,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum ScopeDocument {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum ModeDocument {
    #[default]
    Standard,
    Strict,
    Failover,
    Passthrough,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum HealthPolicyDocument {
    #[default]
    OnlyHealthy,
    AllowAll,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum IpFamiliesDocument {
    Dual,
    IPv4,
    IPv6,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum VisibilityDocument {
    #[default]
    Public,
    Namespace,
}

impl ServiceDocument {
    /// Names that no workload can prove are left out of the service, and noted.
    pub(super) fn into_service(self, notes: &mut Vec<String>) -> Service {
        let key = ServiceName::new(&self.namespace, &self.hostname);
        let mut identities = Vec::new();
        for text in self.subject_alt_names {
            match text.parse::<Identity>() {
                Ok(identity) => identities.push(identity),
                Err(error) => {
                    notes.push(format!("service {key}: subjectAltName is ignored, because {error}"))
                }
            }
        }
        let block =
            |block: CidrDocument| NetworkCidr { network: block.network.into(), cidr: block.cidr.0.trunc() };
        Service {
            name: Arc::from(self.name),
            key,
            vips: self.vips.into_iter().map(|vip| vip.0).collect(),
            cidr_vips: self.cidr_vips.into_iter().map(block).collect(),
            ports: plain(self.ports),
            subject_alt_names: identities,
            waypoint: self.waypoint.map(Into::into),
            weighted_waypoints: self.weighted_waypoints.into_iter().map(Into::into).collect(),
            load_balancing: self.load_balancer.map(Into::into).unwrap_or_default(),
            ip_families: match self.ip_families {
                None | Some(IpFamiliesDocument::Dual) => IpFamilies::Any,
                Some(IpFamiliesDocument::IPv4) => IpFamilies::V4,
                Some(IpFamiliesDocument::IPv6) => IpFamilies::V6,
            },
            canonical: self.canonical,
            visibility: match self.visibility {
                VisibilityDocument::Public => Visibility::Public,
                VisibilityDocument::Namespace => Visibility::Namespace,
            },
            unreadable: None,
        }
    }
}

impl From<WeightedDocument> for WeightedWaypoint {
    fn from(document: WeightedDocument) -> Self {
        Self { gateway: document.destination.into(), weight: document.weight }
    }
}

impl From<LoadBalancerDocument> for LoadBalancing {
    fn from(document: LoadBalancerDocument) -> Self {
        let mode = match document.mode {
            ModeDocument::Standard => Mode::Standard,
            ModeDocument::Strict => Mode::Strict,
            ModeDocument::Failover => Mode::Failover,
            ModeDocument::Passthrough => Mode::Passthrough,
        };
        let scope = |scope| match scope {
            ScopeDocument::Region => LocalityScope::Region,
            ScopeDocument::Zone => LocalityScope::Zone,
            ScopeDocument::Subzone => LocalityScope::Subzone,
            ScopeDocument::Node => LocalityScope::Node,
            ScopeDocument::Cluster => LocalityScope::Cluster,
            ScopeDocument::Network => LocalityScope::Network,
        };
        Self {
            mode,
            preferences: document.routing_preferences.into_iter().map(scope).collect(),
            allow_unhealthy: document.health_policy == HealthPolicyDocument::AllowAll,
        }
    }
}
