//! Figures of a shard, as of its last turn.

use std::sync::Arc;
use std::time::Duration;

/// What one shard has, and what it has done since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStatistics {
    pub shard: usize,
    /// Open tunnels, those it made and those that peers made.
    pub tunnels: u64,
    /// Connections in tunnels.
    pub streams: u64,
    /// Connections that are not in tunnels.
    pub pairs: u64,
    /// Connections that were accepted and are not yet in either.
    pub setting_up: u64,
    /// Bytes from tunnels that applications have not taken yet.
    pub buffered_bytes: u64,
    pub accepted: u64,
    /// TLS handshakes in either role that came to their end.
    pub handshakes: u64,
    pub handshakes_failed: u64,
    /// Received from all sockets, those of applications and those of tunnels.
    pub bytes_in: u64,
    /// Sent to all sockets.
    pub bytes_out: u64,
    /// Receives that found every buffer taken (ENOBUFS) and waited for one.
    pub starved: u64,
    pub turns: TurnLengths,
}

/// How long the turns of a shard were: from when the kernel gave back control to when the ring was entered again. For so
/// long nobody else was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnLengths {
    /// Turns whose length is at most [`TurnLengths::bound`] of the same place, and more than that of the one before.
    pub counts: [u64; Self::BUCKETS],
    /// Of all turns together.
    pub sum: Duration,
    /// Since the start, or since [`Engine::reset_longest_turns`](crate::engine::Engine::reset_longest_turns).
    pub longest: Duration,
}

/// What a pod of this node has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodConnections {
    pub uid: Arc<str>,
    /// Tunnels to other pods.
    pub tunnels_out: usize,
    /// Tunnels that peers made to it.
    pub tunnels_in: usize,
    pub outbound: usize,
    pub inbound: usize,
}

// === impl PodConnections ===

impl PodConnections {
    /// Adds what another shard counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.tunnels_out += other.tunnels_out;
        self.tunnels_in += other.tunnels_in;
        self.outbound += other.outbound;
        self.inbound += other.inbound;
    }
}

// === impl TurnLengths ===

impl TurnLengths {
    /// 1 µs to 65.5 ms in powers of two, and what is longer.
    pub const BUCKETS: usize = 18;

    /// The upper bound of a bucket, inclusive; none for the last.
    pub fn bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < Self::BUCKETS).then(|| Duration::from_micros(1 << bucket))
    }

    /// Where a turn of this length is counted.
    pub(crate) fn bucket(length: Duration) -> usize {
        let micros = length.as_nanos().div_ceil(1_000).max(1);
        (u128::BITS - (micros - 1).leading_zeros()).min(Self::BUCKETS as u32 - 1) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_where_its_bound_says() {
        for (nanos, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (1_024_000, 10),
            (1_024_001, 11),
            (65_536_000, 16),
            (65_536_001, 17),
            (u64::MAX, 17),
        ] {
            assert_eq!(TurnLengths::bucket(Duration::from_nanos(nanos)), bucket, "{nanos}");
        }
        assert_eq!(TurnLengths::bound(16), Some(Duration::from_micros(65_536)));
        assert_eq!(TurnLengths::bound(17), None);
    }
}
