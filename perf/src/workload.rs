//! What is measured: which loads run at once, in which order they start.

use serde::Serialize;

use crate::protocol::Load;

/// Connections of the ping-pong.
const PING_PONG_CONNECTIONS: usize = 32;
/// Who opens short connections at once.
const CONNECT_WORKERS: usize = 8;

const ONE_PING_PONG: Load = Load::PingPong { connections: 1 };

/// One line of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// One stream from client to server.
    Bulk,
    /// One stream from server to client.
    BulkReverse,
    /// 32 connections, 64 bytes each way again and again.
    PingPong,
    /// One such connection, then one bulk stream beside it.
    MixedPingFirst,
    /// One bulk stream, then one such connection beside it.
    MixedBulkFirst,
    /// Short connections: connect, 64 bytes each way, close, eight at once.
    Connect,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [
        Self::Bulk,
        Self::BulkReverse,
        Self::PingPong,
        Self::MixedPingFirst,
        Self::MixedBulkFirst,
        Self::Connect,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::BulkReverse => "bulk-reverse",
            Self::PingPong => "ping-pong",
            Self::MixedPingFirst => "mixed-ping-first",
            Self::MixedBulkFirst => "mixed-bulk-first",
            Self::Connect => "connect",
        }
    }

    /// What the client runs, in the order in which it starts.
    pub(crate) fn loads(self) -> Vec<Load> {
        match self {
            Self::Bulk => vec![Load::Bulk],
            Self::BulkReverse => vec![Load::BulkReverse],
            Self::PingPong => vec![Load::PingPong { connections: PING_PONG_CONNECTIONS }],
            Self::MixedPingFirst => vec![ONE_PING_PONG, Load::Bulk],
            Self::MixedBulkFirst => vec![Load::Bulk, ONE_PING_PONG],
            Self::Connect => vec![Load::Connect { workers: CONNECT_WORKERS }],
        }
    }

    pub(crate) fn has_bulk(self) -> bool {
        self.loads().iter().any(|load| matches!(load, Load::Bulk | Load::BulkReverse))
    }

    pub(crate) fn has_exchanges(self) -> bool {
        self.loads().iter().any(|load| matches!(load, Load::PingPong { .. } | Load::Connect { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn all_are_listed_and_called_as_on_the_command_line() {
        assert_eq!(Workload::value_variants(), Workload::ALL);
        for workload in Workload::ALL {
            let name = workload.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(name.as_deref(), Some(workload.name()));
            assert!(workload.has_bulk() || workload.has_exchanges());
        }
    }
}
