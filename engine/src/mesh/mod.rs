//! What the mesh is, and the decisions made about it: where a connection goes, and whether it may.
//!
//! [`Snapshot`] holds everything that is known: workloads, services, policies, credentials. It is built on the control
//! thread, one change at a time, and shared with the shards; cloning it is a few reference counts, because the maps
//! share their structure. The decisions are pure functions of a snapshot and the connection: [`route`] for what a pod
//! sends, [`deliver`] and [`authorise`] for what it gets. None of them does I/O, reads a clock or draws a random
//! number.
//!
//! Invariant: whatever a decision cannot honour is a [`Refusal`] with its reason, never a way around it.

mod address;
mod authorise;
mod balance;
mod certificates;
mod claims;
mod deliver;
mod identity;
mod policies;
mod policy;
mod refusal;
mod route;
mod service;
mod services;
mod snapshot;
mod waypoint;
mod workload;
mod workloads;

#[cfg(test)]
pub(crate) mod fixture;

pub use address::{AddressError, NetworkAddress, NetworkCidr, ServiceName};
pub use authorise::{
    Decision, Denial, DryRun, Finding, Found, Inbound, Verdict, authorise, authorise_by_known, examine,
};
pub use balance::target_port;
pub use certificates::Holder;
pub use deliver::{Authority, AuthorityError, Delivery, deliver};
pub use identity::{Identity, IdentityError, TrustDomain};
pub use policy::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccount, StringMatch, Values};
pub use refusal::Refusal;
pub use route::{HboneRoute, Route, route};
pub use service::{IpFamilies, LoadBalancing, LocalityScope, Mode, Service, Visibility, WeightedWaypoint};
pub use snapshot::{Change, MeshSettings, Snapshot};
pub use workload::{
    ApplicationTunnel, GatewayAddress, GatewayDestination, Locality, NetworkMode, Protocol, TunnelHeader,
    Workload,
};

/// Where every node proxy listens for HBONE, in the namespace of each pod.
pub const HBONE_PORT: u16 = 15008;
/// Where the pod's outgoing connections are redirected to.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where plain incoming connections are redirected to.
pub const PLAIN_INBOUND_PORT: u16 = 15006;

/// Whether a port is one of the proxy's own, to which nothing may be sent on behalf of an application: that would be
/// the proxy calling itself.
pub fn is_own_port(port: u16) -> bool {
    matches!(port, HBONE_PORT | OUTBOUND_PORT | PLAIN_INBOUND_PORT)
}
