//! The pods of this node, as the dump has them: whether they are served, and the connections they have.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use engine::mesh::{Snapshot, Workload};
use engine::observe::{Connection, Direction, Security};
use serde::Serialize;

use super::Admin;
use crate::status::PodStatus;

#[derive(Debug, Serialize)]
pub(super) struct PodDump {
    state: &'static str,
    info: Info,
    connections: Connections,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    name: String,
    namespace: String,
    service_account: String,
    trust_domain: String,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Connections {
    inbound: Vec<ConnectionDump>,
    outbound: Vec<ConnectionDump>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionDump {
    src: SocketAddr,
    /// The application's address.
    original_dst: SocketAddr,
    /// Where the connection itself goes: to the peer's proxy if it is in a tunnel.
    actual_dst: SocketAddr,
    protocol: &'static str,
}

/// By namespace and name of a pod.
type OfPods = HashMap<(String, String), Connections>;

/// By uid.
pub(super) fn all(admin: &Admin, snapshot: &Snapshot) -> BTreeMap<String, PodDump> {
    let mut standing = standing(&admin.standing.list());
    let trust_domain = snapshot.settings().trust_domain.as_str();
    admin.known.status.read(|known| {
        let pods = known.pods.iter();
        pods.map(|(uid, pod)| (uid.to_string(), dump(pod, trust_domain, &mut standing))).collect()
    })
}

fn dump(pod: &PodStatus, trust_domain: &str, standing: &mut OfPods) -> PodDump {
    let key = (pod.namespace.to_string(), pod.name.to_string());
    PodDump {
        state: if pod.pending.is_none() { "Up" } else { "Pending" },
        connections: standing.remove(&key).unwrap_or_default(),
        info: Info {
            name: key.1,
            namespace: key.0,
            service_account: pod.service_account.to_string(),
            trust_domain: trust_domain.to_owned(),
        },
    }
}

fn standing(list: &[Arc<Connection>]) -> OfPods {
    let mut pods = OfPods::new();
    for connection in list {
        let Some(workload) = own(connection) else { continue };
        let of_pod = pods.entry((workload.namespace().to_string(), workload.name.to_string())).or_default();
        match connection.direction {
            Direction::Inbound => of_pod.inbound.push(entry(connection)),
            Direction::Outbound => of_pod.outbound.push(entry(connection)),
        }
    }
    pods
}

/// The end that is of this node.
fn own(connection: &Connection) -> Option<&Workload> {
    match connection.direction {
        Direction::Inbound => connection.destination_workload.as_deref(),
        Direction::Outbound => connection.source_workload.as_deref(),
    }
}

fn entry(connection: &Connection) -> ConnectionDump {
    ConnectionDump {
        src: connection.source,
        original_dst: connection.hbone_destination.unwrap_or(connection.destination),
        actual_dst: connection.destination,
        protocol: match connection.security {
            Security::MutualTls => "HBONE",
            Security::Plain => "TCP",
        },
    }
}
