//! Services, as the dump has them.

use std::collections::BTreeMap;

use engine::mesh::{Identity, IpFamilies, LoadBalancing, LocalityScope, Mode, Service, Snapshot, Visibility};
use serde::Serialize;

use super::workloads::{GatewayDump, gateway, health};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceDump<'s> {
    name: &'s str,
    namespace: &'s str,
    hostname: &'s str,
    vips: Vec<String>,
    cidr_vips: Vec<String>,
    ports: &'s BTreeMap<u16, u16>,
    /// By the workload's uid.
    endpoints: BTreeMap<&'s str, EndpointDump<'s>>,
    subject_alt_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_balancer: Option<BalancerDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_families: Option<&'static str>,
    canonical: bool,
    visibility: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointDump<'s> {
    workload_uid: &'s str,
    service: String,
    port: BTreeMap<u16, u16>,
    status: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BalancerDump {
    mode: &'static str,
    routing_preferences: Vec<&'static str>,
    health_policy: &'static str,
}

pub(super) fn service<'s>(snapshot: &'s Snapshot, service: &'s Service) -> ServiceDump<'s> {
    ServiceDump {
        name: &service.name,
        namespace: &service.key.namespace,
        hostname: &service.key.hostname,
        vips: service.vips.iter().map(ToString::to_string).collect(),
        cidr_vips: service.cidr_vips.iter().map(ToString::to_string).collect(),
        ports: &service.ports,
        endpoints: endpoints(snapshot, service),
        subject_alt_names: service.subject_alt_names.iter().map(Identity::to_string).collect(),
        waypoint: service.waypoint.as_ref().map(gateway),
        load_balancer: balancer(&service.load_balancing),
        ip_families: match service.ip_families {
            IpFamilies::Any => None,
            IpFamilies::V4 => Some("IPv4"),
            IpFamilies::V6 => Some("IPv6"),
        },
        canonical: service.canonical,
        visibility: match service.visibility {
            Visibility::Public => "Public",
            Visibility::Namespace => "Namespace",
        },
    }
}

fn endpoints<'s>(snapshot: &'s Snapshot, service: &'s Service) -> BTreeMap<&'s str, EndpointDump<'s>> {
    let of_service = snapshot.endpoints(&service.key);
    let dumped = of_service.map(|workload| {
        let mut port = service.ports.clone();
        port.extend(workload.services.get(&service.key).into_iter().flatten());
        let dump = EndpointDump {
            workload_uid: &workload.uid,
            service: service.key.to_string(),
            port,
            status: health(workload.healthy),
        };
        (&*workload.uid, dump)
    });
    dumped.collect()
}

/// Nothing where nobody asked for anything special.
fn balancer(balancing: &LoadBalancing) -> Option<BalancerDump> {
    if *balancing == LoadBalancing::default() {
        return None;
    }
    Some(BalancerDump {
        mode: match balancing.mode {
            Mode::Standard => "Standard",
            Mode::Strict => "Strict",
            Mode::Failover => "Failover",
            Mode::Passthrough => "Passthrough",
        },
        routing_preferences: balancing.preferences.iter().map(|scope| preference(*scope)).collect(),
        health_policy: if balancing.allow_unhealthy { "AllowAll" } else { "OnlyHealthy" },
    })
}

fn preference(scope: LocalityScope) -> &'static str {
    match scope {
        LocalityScope::Region => "Region",
        LocalityScope::Zone => "Zone",
        LocalityScope::Subzone => "Subzone",
        LocalityScope::Node => "Node",
        LocalityScope::Cluster => "Cluster",
        LocalityScope::Network => "Network",
    }
}
