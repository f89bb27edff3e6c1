//! Figures of the shards and of the process, as metrics.

use std::fmt;
use std::fs;

use engine::observe::{ShardStatistics, TurnLengths};
use nix::sys::resource::{Resource, getrlimit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::{Distribution, Exposition};
use crate::figures::Statistics;

#[derive(Debug)]
pub(super) struct Shards(pub(super) Statistics);

/// Looked up when it is written down.
#[derive(Debug)]
pub(super) struct Process;

type Figure = (&'static str, &'static str, fn(&ShardStatistics) -> u64);

const GAUGES: [Figure; 5] = [
    ("ringway_shard_tunnels", "Open tunnels, in both roles", |shard| shard.tunnels),
    ("ringway_shard_streams", "Connections in tunnels", |shard| shard.streams),
    ("ringway_shard_pairs", "Connections that are not in tunnels", |shard| shard.pairs),
    ("ringway_shard_setting_up", "Connections accepted that do not stand yet", |shard| shard.setting_up),
    ("ringway_shard_buffered_bytes", "Bytes from tunnels that applications have not taken yet", |shard| {
        shard.buffered_bytes
    }),
];

const COUNTERS: [Figure; 6] = [
    ("ringway_shard_accepted", "Connections accepted", |shard| shard.accepted),
    ("ringway_shard_handshakes", "TLS handshakes that came to their end", |shard| shard.handshakes),
    ("ringway_shard_handshakes_failed", "TLS handshakes that failed", |shard| shard.handshakes_failed),
    ("ringway_shard_bytes_in", "Bytes received from all sockets", |shard| shard.bytes_in),
    ("ringway_shard_bytes_out", "Bytes sent to all sockets", |shard| shard.bytes_out),
    ("ringway_shard_starved", "Receives that found every buffer taken", |shard| shard.starved),
];

// === impl Shards ===

impl Shards {
    fn of<V>(
        &self,
        value: impl Fn(&ShardStatistics) -> V,
    ) -> impl Iterator<Item = ([(&'static str, u64); 1], V)> {
        self.0.shards.iter().map(move |shard| ([("shard", shard.shard as u64)], value(shard)))
    }
}

impl Collector for Shards {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        for (name, help, value) in GAUGES {
            exposition.gauges(name, help, self.of(value))?;
        }
        for (name, help, value) in COUNTERS {
            exposition.counters(name, help, self.of(value))?;
        }
        exposition.histograms(
            "ringway_shard_turn_seconds",
            "How long a shard worked between two looks at its sockets",
            self.of(|shard| distribution(&shard.turns)),
        )?;
        exposition.gauges(
            "ringway_shard_longest_turn_seconds",
            "The longest of them",
            self.of(|shard| shard.turns.longest.as_secs_f64()),
        )?;
        exposition.counter(
            "ringway_access_log_lost",
            "Observations of connections that were overwritten before they were written down",
            self.0.lost_observations,
        )
    }
}

fn distribution(turns: &TurnLengths) -> Distribution {
    let bound = |bucket| TurnLengths::bound(bucket).map_or(f64::INFINITY, |bound| bound.as_secs_f64());
    let buckets = turns.counts.iter().enumerate().map(|(bucket, count)| (bound(bucket), *count));
    Distribution { sum: turns.sum.as_secs_f64(), buckets: buckets.collect() }
}

// === impl Process ===

impl Collector for Process {
    /// What the kernel does not tell is left out.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is that of the directory itself.
            let open = entries.count().saturating_sub(1) as u64;
            exposition.gauge("process_open_fds", "Open file descriptors", open)?;
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            exposition.gauge("process_max_fds", "File descriptors that may be open", soft)?;
        }
        Ok(())
    }
}
