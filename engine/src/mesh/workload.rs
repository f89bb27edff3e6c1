//! A workload: a pod, or anything else of the mesh that has addresses and an identity.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Identity, NetworkAddress, ServiceName};

/// One workload, as the control plane or the local file describes it.
///
/// The identity is complete: whoever builds a workload fills in what was left out with
/// [`MeshSettings::identity`](super::MeshSettings::identity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub identity: Identity,
    pub network: Arc<str>,
    /// In canonical form. May be empty where the workload is known by `hostname` or behind `network_gateway` only.
    pub ips: Vec<IpAddr>,
    pub hostname: Arc<str>,
    pub protocol: Protocol,
    pub network_mode: NetworkMode,
    pub node: Arc<str>,
    pub cluster_id: Arc<str>,
    pub locality: Locality,
    /// The controller that made it (`workload_type` is `deployment`, `cronjob`, `pod` or `job`): labels only.
    pub workload_name: Arc<str>,
    pub workload_type: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub waypoint: Option<GatewayAddress>,
    pub network_gateway: Option<GatewayAddress>,
    pub application_tunnel: Option<ApplicationTunnel>,
    /// It terminates HBONE itself.
    pub native_tunnel: bool,
    /// Why it cannot be connected to: what the control plane says of it could not be read as a whole. It is known
    /// nevertheless, for to one that is not known connections are plain.
    pub unreadable: Option<Arc<str>>,
    /// `namespace/name` of the policies that select this workload.
    pub authorization_policies: Vec<Arc<str>>,
    pub healthy: bool,
    /// Its share of a service's connections, relative to the other endpoints.
    pub capacity: u32,
    /// The services it is an endpoint of, and its own port mapping (service port to target port) in each.
    pub services: BTreeMap<ServiceName, BTreeMap<u16, u16>>,
}

/// How a workload wants to be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Tcp,
    Hbone,
}

/// Whether a workload has addresses of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    #[default]
    Standard,
    /// It shares the node's addresses, so an address does not say which workload is meant.
    HostNetwork,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub subzone: Arc<str>,
}

/// A proxy in the way to a destination: a waypoint, or the gateway of another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAddress {
    pub destination: GatewayDestination,
    pub hbone_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayDestination {
    Address(NetworkAddress),
    Hostname(ServiceName),
}

/// What the workload's own node proxy must do before the first byte reaches the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationTunnel {
    pub header: TunnelHeader,
    /// Where the application listens for it, where that is not the port asked for.
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelHeader {
    None,
    /// A PROXY protocol header.
    Proxy,
}

// === impl Workload ===

impl Workload {
    pub fn namespace(&self) -> &Arc<str> {
        &self.identity.namespace
    }

    pub fn service_account(&self) -> &Arc<str> {
        &self.identity.service_account
    }

    /// Whether the same policies apply to both.
    pub fn is_judged_like(&self, other: &Self) -> bool {
        self.namespace() == other.namespace() && self.authorization_policies == other.authorization_policies
    }

    /// The addresses by which it can be told from others.
    pub fn own_addresses(&self) -> impl Iterator<Item = NetworkAddress> + '_ {
        let ips = match self.network_mode {
            NetworkMode::Standard => self.ips.as_slice(),
            NetworkMode::HostNetwork => &[],
        };
        ips.iter().map(|ip| NetworkAddress::new(&self.network, *ip))
    }

    /// The value of the `baggage` header that describes this workload to a peer. What is not known is left out.
    pub fn baggage(&self) -> String {
        let workload_key = format!("k8s.{}.name", self.workload_type);
        let fields = [
            ("k8s.cluster.name", &self.cluster_id),
            ("k8s.namespace.name", self.namespace()),
            (workload_key.as_str(), &self.workload_name),
            ("service.name", &self.canonical_name),
            ("service.version", &self.canonical_revision),
            ("cloud.region", &self.locality.region),
            ("cloud.availability_zone", &self.locality.zone),
        ];
        let known: Vec<String> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        known.join(",")
    }
}

// === impl Locality ===

impl Default for Locality {
    fn default() -> Self {
        Self { region: Arc::from(""), zone: Arc::from(""), subzone: Arc::from("") }
    }
}

// === impl GatewayAddress ===

impl std::fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            GatewayDestination::Address(address) => write!(f, "{address} port {}", self.hbone_port),
            GatewayDestination::Hostname(name) => write!(f, "{name} port {}", self.hbone_port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::workload;
    use super::*;

    #[test]
    fn baggage_names_what_is_known() {
        let mut pod = workload("cart-1");
        pod.cluster_id = "Kubernetes".into();
        assert_eq!(pod.baggage(), "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop");

        pod.workload_name = "cart".into();
        pod.workload_type = "deployment".into();
        pod.canonical_name = "cart".into();
        pod.canonical_revision = "v2".into();
        pod.locality = Locality { region: "eu".into(), zone: "eu-1".into(), subzone: "rack-3".into() };
        assert_eq!(
            pod.baggage(),
            "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=cart,service.name=cart,\
             service.version=v2,cloud.region=eu,cloud.availability_zone=eu-1"
        );
    }

    #[test]
    fn a_host_network_workload_has_no_address_of_its_own() {
        let mut pod = workload("agent");
        pod.ips = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(pod.own_addresses().count(), 2);
        pod.network_mode = NetworkMode::HostNetwork;
        assert_eq!(pod.own_addresses().count(), 0);
    }
}
