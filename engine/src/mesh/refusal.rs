//! Why a connection is not made, in words for whoever runs the mesh.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use super::{GatewayAddress, ServiceName};

/// A connection that is not made. The text is the cause; [`Refusal::cure`] says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("{destination} is a port of the proxy itself")]
    SelfCall { destination: SocketAddr },
    #[error("service {service} has no port {port}")]
    NoSuchPort { service: ServiceName, port: u16 },
    #[error("service {service} has no healthy endpoint for port {port}")]
    NoHealthyUpstream { service: ServiceName, port: u16 },
    #[error(
        "connections to {destination} must go through the waypoint {waypoint}, which is not supported yet"
    )]
    WaypointNeeded { destination: SocketAddr, waypoint: GatewayAddress },
    #[error(
        "workload {workload} is on network `{network}`, and connections through the gateway {gateway} are not \
         supported yet"
    )]
    GatewayNeeded { workload: Arc<str>, network: Arc<str>, gateway: GatewayAddress },
    #[error("workload {workload} is on network `{network}`, and no gateway to that network is known")]
    NoGateway { workload: Arc<str>, network: Arc<str> },
    #[error("workload {workload} needs an application tunnel (a PROXY header), which is not supported yet")]
    ApplicationTunnelNeeded { workload: Arc<str> },
    #[error(
        "workload {workload} is known only by its hostname {hostname}, and resolving it is not supported yet"
    )]
    ResolutionNeeded { workload: Arc<str>, hostname: Arc<str> },
    #[error("what the control plane says of workload {workload} cannot be used: {problem}")]
    Unreadable { workload: Arc<str>, problem: Arc<str> },
    #[error("what the control plane says of service {service} cannot be used: {problem}")]
    UnreadableService { service: ServiceName, problem: Arc<str> },
    #[error("the peer asked for {authority}, but this is {pod}")]
    NotThisPod { authority: SocketAddr, pod: IpAddr },
    #[error("the peer asked for the hostname {hostname}, which no service of the mesh has")]
    UnknownHost { hostname: Arc<str> },
}

impl Refusal {
    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::SelfCall { .. } => "connect to a port of the application",
            Self::NoSuchPort { .. } => "connect to a port that the service lists, or add it to the service",
            Self::NoHealthyUpstream { .. } => {
                "check that the service selects pods, that they are ready, and that they serve this port"
            }
            Self::WaypointNeeded { .. } => {
                "remove the waypoint from this service or workload, or use a proxy that supports waypoints"
            }
            Self::GatewayNeeded { .. } => {
                "give the service an endpoint on this network, or use a proxy that supports several networks"
            }
            Self::NoGateway { .. } => {
                "if it is the same network, give the workload the NETWORK of this proxy, else announce its gateway"
            }
            Self::ApplicationTunnelNeeded { .. } => {
                "remove the application tunnel from the workload, or use a proxy that supports it"
            }
            Self::Unreadable { .. } | Self::UnreadableService { .. } => {
                "see that the control plane and this proxy are of versions that fit"
            }
            Self::ResolutionNeeded { .. } => "give the workload an IP address",
            Self::NotThisPod { .. } => "check that both proxies have the same view of the pod's addresses",
            Self::UnknownHost { .. } => "check that the service exists in the mesh of this proxy",
        }
    }

    /// What a peer is told that asked for this connection through a tunnel: 400 if it asked for the wrong thing, 503
    /// if we cannot do it.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotThisPod { .. } => 400,
            _ => 503,
        }
    }
}
