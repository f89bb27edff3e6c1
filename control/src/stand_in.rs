//! What takes the engine's place in tests: it writes down what it is asked.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use engine::engine::{EngineError, Pod};
use engine::mesh::{Holder, MeshSettings, Service, Snapshot, Workload};
use engine::observe::{
    Closed, Connection, ConnectionId, Direction, Observation, PodConnections, ResponseFlag, ShardStatistics,
    Traffic,
};
use engine::tls::Credentials;
use proto::workload as message;
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use crate::environment::{Environment, Machine};
use crate::local::LocalMesh;
use crate::plane::DataPlane;
use crate::xds::interned::Interned;
use crate::xds::{service, workload};

#[derive(Default)]
pub(crate) struct StandIn {
    /// `publish`, `add UID`, `remove UID`, in the order they came.
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) snapshot: RefCell<Option<Arc<Snapshot>>>,
    /// Rung at every publish.
    pub(crate) published: Notify,
    /// Pods that cannot be added, by uid.
    pub(crate) broken: RefCell<Vec<String>>,
    pub(crate) observations: RefCell<VecDeque<Observation>>,
    pub(crate) lost: Cell<u64>,
    /// A pod is not added at once, nor removed.
    pub(crate) slow: Cell<bool>,
    /// Connections never end.
    pub(crate) stuck: Cell<bool>,
}

impl StandIn {
    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        self.asked.take()
    }

    pub(crate) fn has_credentials(&self, identity: &str) -> bool {
        self.credentials(identity).is_some()
    }

    /// What every pod of an identity proves it with, as last published.
    pub(crate) fn credentials(&self, identity: &str) -> Option<Arc<Credentials>> {
        let holder = Holder { identity: identity.parse().unwrap(), pod: None };
        self.snapshot.borrow().as_ref()?.credentials_of(&holder).cloned()
    }

    fn note(&self, text: String) {
        self.asked.borrow_mut().push(text);
    }
}

impl DataPlane for StandIn {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.note("publish".to_owned());
        *self.snapshot.borrow_mut() = Some(snapshot);
        self.published.notify_one();
    }

    async fn add_pod(&self, pod: Pod) -> Result<(), EngineError> {
        self.note(format!("add {}", pod.uid));
        if self.slow.get() {
            tokio::task::yield_now().await;
        }
        if self.broken.borrow().iter().any(|uid| **uid == *pod.uid) {
            return Err(EngineError::Pod { uid: pod.uid, cause: "broken".to_owned() });
        }
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), EngineError> {
        self.note(format!("remove {uid}"));
        if self.slow.get() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn next_observation(&self) -> Observation {
        let next = self.observations.borrow_mut().pop_front();
        match next {
            Some(observation) => observation,
            None => std::future::pending().await,
        }
    }

    fn lost_observations(&self) -> u64 {
        self.lost.get()
    }

    fn statistics(&self) -> Vec<ShardStatistics> {
        vec![ShardStatistics { accepted: 7, ..ShardStatistics::default() }]
    }

    async fn connections_of_pods(&self) -> Vec<PodConnections> {
        let uid = Arc::from("uid-1");
        vec![PodConnections { uid, tunnels_out: 1, tunnels_in: 2, outbound: 3, inbound: 4 }]
    }

    async fn cut(&self) {
        self.note("cut".to_owned());
    }

    async fn drain(&self) {
        self.note("drain".to_owned());
        if self.stuck.get() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a process with these variables, and what else it needs, would read. Its ports are any that are free.
pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let needed = [
        ("LOCAL_XDS", "workloads: []"),
        ("RINGWAY_PODS_PATH", "/nonexistent"),
        ("RINGWAY_CA_DIR", "/nonexistent"),
        ("NODE_NAME", "node-1"),
    ];
    let all = needed.iter().chain(variables).map(|(name, value)| (name.to_string(), value.to_string()));
    let machine = Machine { allowed: vec![0], cores: 1 };
    let mut environment = Environment::read(all, &machine).unwrap();
    let any = ([127, 0, 0, 1], 0).into();
    (environment.admin_address, environment.stats_address, environment.readiness_address) = (any, any, any);
    environment
}

/// A port at which every connection over loopback is refused, for as long as the socket is held: it is taken, and nobody
/// listens.
pub(crate) fn refused_port() -> (TcpSocket, u16) {
    let bound = |socket: TcpSocket, address: &str| socket.bind(address.parse().unwrap()).map(|()| socket);
    // Of both families, where the machine has both.
    let socket = TcpSocket::new_v6().and_then(|socket| bound(socket, "[::]:0"));
    let socket = socket.or_else(|_| bound(TcpSocket::new_v4()?, "0.0.0.0:0")).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A connection of which no more is known than the two ends, from this port.
pub(crate) fn connection(port: u16) -> Connection {
    let id = ConnectionId { shard: 0, sequence: u64::from(port) };
    Connection::new(id, Direction::Outbound, ([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], 80).into())
}

/// It ended well.
pub(crate) fn completed(port: u16) -> Observation {
    let traffic = Traffic { sent: 1, received: 2 };
    Observation::Closed(Box::new(Closed {
        connection: Arc::new(connection(port)),
        stood: true,
        traffic,
        unreported: traffic,
        duration: std::time::Duration::ZERO,
        error: None,
        flag: ResponseFlag::None,
        refused: false,
    }))
}

/// What a file with this text says of the mesh.
pub(crate) async fn mesh(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut file = LocalMesh::inline(text.to_owned(), snapshot.settings().clone());
    file.changes().await.unwrap().into_iter().for_each(|change| snapshot.apply(change));
    snapshot
}

/// A workload of the namespace `shop` in the mesh.
pub(crate) fn workload(name: &str, cluster: &str) -> Workload {
    let sent = message::Workload {
        uid: name.to_owned(),
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        service_account: name.to_owned(),
        tunnel_protocol: message::TunnelProtocol::Hbone.into(),
        ..message::Workload::default()
    };
    let settings = MeshSettings { cluster_id: cluster.into(), ..MeshSettings::default() };
    workload::read(sent, &mut Interned::new(settings)).unwrap()
}

/// A service of the namespace `shop`.
pub(crate) fn service(name: &str) -> Service {
    let sent = message::Service {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        hostname: format!("{name}.shop.svc.cluster.local"),
        ..message::Service::default()
    };
    service::read(sent, &mut Interned::new(MeshSettings::default())).unwrap()
}
