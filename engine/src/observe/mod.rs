//! What a shard tells the control thread: a stream of observations, of which access log, metrics and flows are made.
//!
//! A connection that comes to stand is told of when it does, now and then while it lives and carries bytes, and when it
//! ends; one that never stood only when it ends. Nothing is told per chunk.

mod connection;
mod record;
mod statistics;

use std::sync::Arc;
use std::time::Duration;

pub use connection::{Connection, ConnectionId, Direction, ResponseFlag, Security};
pub(crate) use record::Record;
pub use statistics::{PodConnections, ShardStatistics, TurnLengths};

/// One step in the life of a connection.
#[derive(Clone, Debug)]
pub enum Observation {
    /// It stands: bytes flow.
    Opened(Arc<Connection>),
    /// It lives and has carried bytes since it was last told of.
    Progress {
        connection: Arc<Connection>,
        /// Since then, not in all.
        traffic: Traffic,
    },
    Closed(Box<Closed>),
}

/// A connection that has ended, or never came to stand.
#[derive(Clone, Debug)]
pub struct Closed {
    pub connection: Arc<Connection>,
    /// There was an [`Opened`](Observation::Opened) before.
    pub stood: bool,
    /// From beginning to end.
    pub traffic: Traffic,
    /// That part of it of which no [`Progress`](Observation::Progress) told.
    pub unreported: Traffic,
    /// Since it was accepted.
    pub duration: Duration,
    /// Why it ended before its time, or never began; `None` for an ordinary end.
    pub error: Option<String>,
    pub flag: ResponseFlag,
    /// It was refused before it was known to be a connection of the mesh at all (contract 1.10, "early deny"): a line of
    /// the log, and no metric.
    pub refused: bool,
}

/// Bytes, seen from the application that is the client of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sent: u64,
    pub received: u64,
}

// === impl Observation ===

impl Observation {
    pub fn connection(&self) -> &Arc<Connection> {
        match self {
            Self::Opened(connection) | Self::Progress { connection, .. } => connection,
            Self::Closed(closed) => &closed.connection,
        }
    }
}

// === impl Traffic ===

impl Traffic {
    /// What came since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { sent: self.sent - earlier.sent, received: self.received - earlier.received }
    }
}
