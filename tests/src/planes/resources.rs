//! Resources as Cilium's agent fills them (contract 2.9), and as it does not.

use prost::Message;
use prost_types::Any;
use proto::discovery::Resource;
use proto::workload::{self, Address, PortList, Service, Workload, address};
use proto::{security, type_url};

use crate::lab::Pod;

/// Nodes, namespaces and service accounts of a large cluster.
const NODES: usize = 1_000;
const NAMESPACES: usize = 300;
const ACCOUNTS: usize = 10;

/// What the agent says of a pod.
pub fn workload(pod: &Pod) -> Workload {
    let bytes = |ip| match ip {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    Workload {
        uid: pod.uid.clone(),
        name: pod.spec.name.clone(),
        namespace: pod.spec.namespace.clone(),
        service_account: pod.spec.service_account.clone(),
        addresses: pod.addresses().into_iter().map(bytes).collect(),
        node: pod.node_name.clone(),
        tunnel_protocol: workload::TunnelProtocol::Hbone.into(),
        ..Workload::default()
    }
}

/// The same as a resource.
pub fn pod(pod: &Pod) -> Resource {
    of_workload(workload(pod))
}

/// A pod somewhere in a cluster of many thousands, described as `like` is.
pub fn of_large_cluster(like: &Pod, number: usize) -> Resource {
    let mut workload = workload(like);
    workload.uid = format!("{number:08x}-5b0c-4c53-9d5e-{number:012x}");
    workload.name = format!("deployment-{}-7d9c6b8f5-{number:05x}", number % NAMESPACES);
    workload.namespace = format!("namespace-{}", number % NAMESPACES);
    workload.service_account = format!("account-{}", number % ACCOUNTS);
    workload.node = format!("192.168.{}.{}", number % NODES / 250, number % 250);
    let [_, a, b, c] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    workload.addresses = vec![vec![11, a, b, c]];
    of_workload(workload)
}

pub fn of_workload(workload: Workload) -> Resource {
    let name = workload.uid.clone();
    named(&name, address(address::Type::Workload(workload)))
}

pub fn of_service(service: Service) -> Resource {
    let name = format!("{}/{}", service.namespace, service.hostname);
    named(&name, address(address::Type::Service(service)))
}

pub fn of_policy(policy: &security::Authorization) -> Resource {
    let body = Any { type_url: type_url::AUTHORIZATION.to_owned(), value: policy.encode_to_vec() };
    named(&format!("{}/{}", policy.namespace, policy.name), body)
}

/// A resource whose body nobody can read.
pub fn spoilt(name: &str) -> Resource {
    named(name, Any { type_url: type_url::ADDRESS.to_owned(), value: vec![0xff; 7] })
}

/// One port of a service, and where its endpoints listen.
pub fn port(service_port: u16, target_port: u16) -> PortList {
    PortList {
        ports: vec![workload::Port {
            service_port: service_port.into(),
            target_port: target_port.into(),
            ..workload::Port::default()
        }],
    }
}

fn address(of: address::Type) -> Any {
    let value = Address { r#type: Some(of) }.encode_to_vec();
    Any { type_url: type_url::ADDRESS.to_owned(), value }
}

fn named(name: &str, body: Any) -> Resource {
    Resource { name: name.to_owned(), resource: Some(body), ..Resource::default() }
}
