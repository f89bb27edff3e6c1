//! What a shard tells the control thread: counters, and one record per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::{Identity, Service, Workload};

/// Which listener a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Outbound,
    Inbound,
}

/// One connection that ended, or was refused: what the access log says of it.
///
/// `bytes_sent` and `bytes_received` are seen from the application that is the client of this connection.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    pub direction: Direction,
    pub source: SocketAddr,
    pub source_workload: Option<Arc<str>>,
    pub source_namespace: Option<Arc<str>>,
    pub source_identity: Option<Identity>,
    pub source_cluster: Option<Arc<str>>,
    /// Where our connection, or the peer's to us, goes: the peer's port 15008 if it is a tunnel.
    pub destination: SocketAddr,
    /// What was asked for inside the tunnel: the application's address.
    pub hbone_destination: Option<SocketAddr>,
    pub destination_service: Option<Arc<str>>,
    pub destination_workload: Option<Arc<str>>,
    pub destination_namespace: Option<Arc<str>>,
    pub destination_identity: Option<Identity>,
    pub destination_cluster: Option<Arc<str>>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub duration: Duration,
    /// Why it ended before its time, or never began; `None` for an ordinary end.
    pub error: Option<String>,
    /// True where it was refused before it was known to be a connection of the mesh at all.
    pub refused: bool,
    /// What policies in dry run would have done.
    pub dry_run: Vec<String>,
}

impl ConnectionRecord {
    /// A record that knows no more than the two ends.
    pub(crate) fn new(direction: Direction, source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            direction,
            source,
            source_workload: None,
            source_namespace: None,
            source_identity: None,
            source_cluster: None,
            destination,
            hbone_destination: None,
            destination_service: None,
            destination_workload: None,
            destination_namespace: None,
            destination_identity: None,
            destination_cluster: None,
            bytes_sent: 0,
            bytes_received: 0,
            duration: Duration::ZERO,
            error: None,
            refused: false,
            dry_run: Vec::new(),
        }
    }

    /// It comes from a workload that is known. Its identity is what it would prove, if it did.
    pub(crate) fn set_source(&mut self, workload: &Workload) {
        self.source_workload = Some(Arc::clone(&workload.name));
        self.source_namespace = Some(Arc::clone(&workload.identity.namespace));
        self.source_identity = Some(workload.identity.clone());
        self.source_cluster = Some(Arc::clone(&workload.cluster_id));
    }

    pub(crate) fn set_destination(&mut self, workload: Option<&Workload>, service: Option<&Service>) {
        if let Some(workload) = workload {
            self.destination_workload = Some(Arc::clone(&workload.name));
            self.destination_namespace = Some(Arc::clone(&workload.identity.namespace));
            self.destination_cluster = Some(Arc::clone(&workload.cluster_id));
        }
        self.destination_service = service.map(|service| Arc::clone(&service.key.hostname));
    }
}
