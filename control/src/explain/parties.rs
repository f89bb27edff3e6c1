//! Who is meant by what somebody typed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use engine::mesh::{Service, Snapshot, Workload, target_port};
use thiserror::Error;

/// Where a pod is called that was named without a port.
const PORT_DEFAULT: u16 = 80;

/// Names that an answer lists at most: they are there to show a typing error.
const NAMED_MAX: usize = 5;

/// Nobody can be meant by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unclear {
    #[error("a source has no port: leave `:{port}` out of `{text}`")]
    PortOfSource { text: String, port: String },
    #[error(
        "`{port}` in `{text}` is no port: write a number from 1 to 65535 behind the last colon, or nothing for {PORT_DEFAULT}"
    )]
    NotAPort { text: String, port: String },
    #[error("the mesh has no pod `{text}`: {there}")]
    NoWorkload { text: String, there: String },
    #[error("the mesh has neither a pod nor a service `{text}`: {there}")]
    Nobody { text: String, there: String },
    #[error("`{text}` can be {candidates}: write it with its namespace")]
    Several { text: String, candidates: String },
    #[error("{0} has no address: ask for an IP address instead")]
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
        if let Ok(ip) = unbracketed(text).parse::<IpAddr>() {
            let known = snapshot.workload_by_ip(ip);
            return Ok(known.map_or(Self::Outside(ip), |workload| Self::Workload(Arc::clone(workload))));
        }
        if let Some((_, port)) = text.rsplit_once(':') {
            return Err(Unclear::PortOfSource { text: text.to_owned(), port: port.to_owned() });
        }
        let found = match text.split_once('/') {
            Some((namespace, name)) => workload(snapshot, namespace, name),
            None => only(text, &workloads_called(snapshot, text), |one| called(one))?,
        };
        let there = || there(snapshot, text.split_once('/').map(|(namespace, _)| namespace));
        let found = found.ok_or_else(|| Unclear::NoWorkload { text: text.to_owned(), there: there() })?;
        Ok(Self::Workload(Arc::clone(found)))
    }

    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Workload(workload) => workload.namespace(),
            Self::Outside(_) => "",
        }
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Workload(workload) => workload.ips.clone(),
            Self::Outside(ip) => vec![*ip],
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
        if let Ok(ip) = unbracketed(text).parse::<IpAddr>() {
            return Ok(Self { address: SocketAddr::new(ip, PORT_DEFAULT), named: Named::Address });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(self::port(text, port)?)),
            None => (text, None),
        };
        if let Ok(ip) = unbracketed(name).parse::<IpAddr>() {
            let address = SocketAddr::new(ip, port.unwrap_or(PORT_DEFAULT));
            return Ok(Self { address, named: Named::Address });
        }
        let nobody = |there| Unclear::Nobody { text: name.to_owned(), there };
        if let Some((of, name)) = name.split_once('/') {
            if let Some(found) = workload(snapshot, of, name) {
                return Self::of_workload(found, port);
            }
            let found = service(snapshot, of, name).ok_or_else(|| nobody(there(snapshot, Some(of))))?;
            return Self::of_service(snapshot, found, port);
        }
        if let Some(found) = resolve(snapshot, name, namespace) {
            return Self::of_service(snapshot, found, port);
        }
        if let Some(found) = only(name, &services_called(snapshot, name), |one| one.key.to_string())? {
            return Self::of_service(snapshot, found, port);
        }
        let found = only(name, &workloads_called(snapshot, name), |one| called(one))?;
        let there = || there(snapshot, Some(namespace).filter(|namespace| !namespace.is_empty()));
        Self::of_workload(found.ok_or_else(|| nobody(there()))?, port)
    }

    fn of_workload(workload: &Arc<Workload>, port: Option<u16>) -> Result<Self, Unclear> {
        let ip = workload.ips.first().ok_or_else(|| Unclear::NoAddress(called(workload)))?;
        let address = SocketAddr::new(*ip, port.unwrap_or(PORT_DEFAULT));
        Ok(Self { address, named: Named::Workload(Arc::clone(workload)) })
    }

    /// At its virtual address; a headless one at an endpoint's, as its clients would find in DNS. Without a port it is
    /// the usual one, or the lowest of a service that does not have that.
    fn of_service(snapshot: &Snapshot, service: &Arc<Service>, port: Option<u16>) -> Result<Self, Unclear> {
        let has_default = service.ports.is_empty() || service.ports.contains_key(&PORT_DEFAULT);
        let lowest = || service.ports.keys().next().copied().filter(|_| !has_default);
        let port = port.or_else(lowest).unwrap_or(PORT_DEFAULT);
        let vip = service.vips.first().map(|vip| vip.ip);
        let endpoint = || snapshot.endpoints(&service.key).find_map(|workload| workload.ips.first().copied());
        let ip = vip.or_else(endpoint).ok_or_else(|| Unclear::NoAddress(service.key.to_string()))?;
        Ok(Self { address: SocketAddr::new(ip, port), named: Named::Service(Arc::clone(service)) })
    }

    /// The one that the application asks for, and all that it may stand for, whatever it was named by.
    pub(super) fn addresses(&self, snapshot: &Snapshot, namespace: &str) -> Vec<SocketAddr> {
        let port = self.address.port();
        let of = |workload: &Workload, port: u16| {
            workload.ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect::<Vec<_>>()
        };
        let mut addresses = vec![self.address];
        if let Some(workload) = snapshot.workload_by_ip(self.address.ip()) {
            addresses.extend(of(workload, port));
        }
        let service = match &self.named {
            Named::Service(service) => Some(service),
            Named::Address => snapshot.service_by_ip(self.address.ip(), namespace),
            Named::Workload(_) => None,
        };
        for workload in service.into_iter().flat_map(|service| snapshot.endpoints(&service.key)) {
            let target = service.and_then(|service| target_port(service, workload, port));
            addresses.extend(target.into_iter().flat_map(|target| of(workload, target)));
        }
        addresses
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

/// The port behind the last colon of `text`.
fn port(text: &str, port: &str) -> Result<u16, Unclear> {
    let bad = || Unclear::NotAPort { text: text.to_owned(), port: port.to_owned() };
    port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// The service that a pod's resolver would find: the search list of its namespace, then the name as it is.
fn resolve<'s>(snapshot: &'s Snapshot, name: &str, namespace: &str) -> Option<&'s Arc<Service>> {
    let domain = &snapshot.settings().domain;
    let name = name.trim_end_matches('.');
    let names = [
        format!("{name}.{namespace}.svc.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{domain}"),
        name.to_owned(),
    ];
    names.iter().find_map(|name| snapshot.service_by_hostname(name, namespace))
}

fn workloads_called<'s>(snapshot: &'s Snapshot, name: &str) -> Vec<&'s Arc<Workload>> {
    snapshot.workloads().filter(|workload| *workload.name == *name).collect()
}

fn services_called<'s>(snapshot: &'s Snapshot, name: &str) -> Vec<&'s Arc<Service>> {
    snapshot.services().filter(|service| *service.name == *name).collect()
}

/// The only one of that name, if there is one at all.
fn only<T: Copy>(text: &str, found: &[T], name: impl Fn(T) -> String) -> Result<Option<T>, Unclear> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let candidates = listed(several.iter().map(|one| name(*one)).collect(), " or ");
            Err(Unclear::Several { text: text.to_owned(), candidates })
        }
    }
}

/// What there is in a namespace, or in the mesh, for whoever has mistyped.
fn there(snapshot: &Snapshot, namespace: Option<&str>) -> String {
    let mut namespaces: Vec<String> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let workloads = snapshot.workloads().map(|workload| (&**workload.namespace(), &*workload.name));
    let services = snapshot.services().map(|service| (&*service.key.namespace, &*service.name));
    for (of, name) in workloads.chain(services) {
        namespaces.push(of.to_owned());
        if namespace == Some(of) {
            names.push(name.to_owned());
        }
    }
    match (namespace, names.is_empty(), namespaces.is_empty()) {
        (_, _, true) => "it has nobody yet; see ringway status".to_owned(),
        (Some(namespace), false, _) => {
            format!("its namespace {namespace} has {}", listed(names, ", "))
        }
        (Some(namespace), true, _) => {
            format!("it has no namespace {namespace}, but {}", listed(namespaces, ", "))
        }
        (None, ..) => format!("write namespace/name; its namespaces are {}", listed(namespaces, ", ")),
    }
}

/// The first few, each once, in their order.
pub(super) fn listed(mut names: Vec<String>, between: &str) -> String {
    names.sort();
    names.dedup();
    let more = names.len() > NAMED_MAX;
    names.truncate(NAMED_MAX);
    names.join(between) + if more { ", ..." } else { "" }
}

/// As a person names it.
fn called(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace(), workload.name)
}

fn workload<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Arc<Workload>> {
    snapshot.workloads().find(|workload| **workload.namespace() == *namespace && *workload.name == *name)
}

fn service<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Arc<Service>> {
    let is_it = |service: &Service| *service.name == *name || *service.key.hostname == *name;
    snapshot.services().find(|service| *service.key.namespace == *namespace && is_it(service))
}
