//! What a shard tells the control thread: counters, and one record per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::Identity;

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
    pub destination: SocketAddr,
    /// The peer's HBONE address, where the connection went through a tunnel.
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
    /// True where it was refused before a single byte was carried.
    pub refused: bool,
}
