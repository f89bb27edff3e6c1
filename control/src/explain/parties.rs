//! Who is meant by what somebody typed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use engine::mesh::{Service, Snapshot, Workload};
use thiserror::Error;

/// Where a pod is called that was named without a port.
const PORT_DEFAULT: u16 = 80;

/// Nobody can be meant by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unclear {
    #[error("`{0}` is neither an IP address nor namespace/pod")]
    NotASource(String),
    #[error(
        "`{0}` is neither an IP address nor namespace/pod, namespace/service nor a hostname, with or without :port"
    )]
    NotADestination(String),
    #[error("the mesh has no workload {0}: see ringway status for whether it is known at all")]
    NoWorkload(String),
    #[error(
        "the mesh has neither a workload nor a service {0}: see ringway status for whether it is known at all"
    )]
    Nobody(String),
    #[error("the service {0} has neither an address nor endpoints")]
    NoAddress(String),
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    Workload(Arc<Workload>),
    /// An address that no workload has.
    Outside(IpAddr),
}

#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// What an application would connect to.
    pub(super) address: SocketAddr,
    named: Named,
}

/// What the address was taken from.
#[derive(Clone, Debug)]
enum Named {
    Address,
    Workload(Arc<Workload>),
    Service(Arc<Service>),
}

// === impl Source ===

impl Source {
    pub(super) fn find(snapshot: &Snapshot, text: &str) -> Result<Self, Unclear> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            let known = snapshot.workload_by_ip(ip);
            return Ok(known.map_or(Self::Outside(ip), |workload| Self::Workload(Arc::clone(workload))));
        }
        let (namespace, name) = text.split_once('/').ok_or_else(|| Unclear::NotASource(text.to_owned()))?;
        let found =
            workload(snapshot, namespace, name).ok_or_else(|| Unclear::NoWorkload(text.to_owned()))?;
        Ok(Self::Workload(Arc::clone(found)))
    }

    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Workload(workload) => workload.namespace(),
            Self::Outside(_) => "",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(workload) => write!(f, "{}/{}", workload.namespace(), workload.name),
            Self::Outside(ip) => write!(f, "{ip}"),
        }
    }
}

// === impl Destination ===

impl Destination {
    /// As a client in `namespace` would mean it.
    pub(super) fn find(snapshot: &Snapshot, text: &str, namespace: &str) -> Result<Self, Unclear> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address, named: Named::Address });
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self { address: SocketAddr::new(ip, PORT_DEFAULT), named: Named::Address });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let port = port.parse().map_err(|_| Unclear::NotADestination(text.to_owned()))?;
                (name, Some(port))
            }
            None => (text, None),
        };
        if let Some((of, name)) = name.split_once('/') {
            if let Some(found) = workload(snapshot, of, name) {
                return Self::of_workload(found, port);
            }
            let found = service(snapshot, of, name).ok_or_else(|| Unclear::Nobody(text.to_owned()))?;
            return Self::of_service(snapshot, found, port);
        }
        if !name.contains('.') {
            return Err(Unclear::NotADestination(text.to_owned()));
        }
        // As a pod's resolver would complete it.
        let complete = format!("{name}.svc.{}", snapshot.settings().domain);
        let found =
            [name, &complete].into_iter().find_map(|name| snapshot.service_by_hostname(name, namespace));
        Self::of_service(snapshot, found.ok_or_else(|| Unclear::Nobody(text.to_owned()))?, port)
    }

    fn of_workload(workload: &Arc<Workload>, port: Option<u16>) -> Result<Self, Unclear> {
        let ip = workload.ips.first().ok_or_else(|| Unclear::NoAddress(workload.name.to_string()))?;
        let address = SocketAddr::new(*ip, port.unwrap_or(PORT_DEFAULT));
        Ok(Self { address, named: Named::Workload(Arc::clone(workload)) })
    }

    /// At its virtual address; a headless one at an endpoint's, as its clients would find in DNS.
    fn of_service(snapshot: &Snapshot, service: &Arc<Service>, port: Option<u16>) -> Result<Self, Unclear> {
        let port = port.or_else(|| service.ports.keys().next().copied()).unwrap_or(PORT_DEFAULT);
        let vip = service.vips.first().map(|vip| vip.ip);
        let endpoint = || snapshot.endpoints(&service.key).find_map(|workload| workload.ips.first().copied());
        let ip = vip.or_else(endpoint).ok_or_else(|| Unclear::NoAddress(service.key.to_string()))?;
        Ok(Self { address: SocketAddr::new(ip, port), named: Named::Service(Arc::clone(service)) })
    }

    pub(super) fn finding(&self) -> String {
        let address = self.address;
        match &self.named {
            Named::Address => format!("the application connects to {address}"),
            Named::Workload(workload) => {
                format!("{}/{} is at {address}", workload.namespace(), workload.name)
            }
            Named::Service(service) => format!("the service {} is at {address}", service.key),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.address.port();
        match &self.named {
            Named::Address => write!(f, "{}", self.address),
            Named::Workload(workload) => write!(f, "{}/{}:{port}", workload.namespace(), workload.name),
            Named::Service(service) => write!(f, "{}:{port}", service.key),
        }
    }
}

fn workload<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Arc<Workload>> {
    snapshot.workloads().find(|workload| **workload.namespace() == *namespace && *workload.name == *name)
}

fn service<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Arc<Service>> {
    let is_it = |service: &Service| *service.name == *name || *service.key.hostname == *name;
    snapshot.services().find(|service| *service.key.namespace == *namespace && is_it(service))
}
