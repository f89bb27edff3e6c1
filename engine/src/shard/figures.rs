//! The figures of a shard where another thread can read them: written by the shard once per turn, with plain stores to
//! cache lines of their own, and read when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Shard, Tables};
use crate::observe::{ShardStatistics, TurnLengths};

/// A figure that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Figure(AtomicU64);

#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Figures {
    tunnels: Figure,
    streams: Figure,
    pairs: Figure,
    setting_up: Figure,
    buffered_bytes: Figure,
    accepted: Figure,
    pub(crate) handshakes: Figure,
    pub(crate) handshakes_failed: Figure,
    bytes_in: Figure,
    bytes_out: Figure,
    starved: Figure,
    turns: [Figure; TurnLengths::BUCKETS],
    turns_nanos: Figure,
    longest_nanos: Figure,
}

// === impl Figure ===

impl Figure {
    /// For the thread that writes it: not a locked addition.
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get() + n);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Figures ===

impl Figures {
    pub(crate) fn read(&self, shard: usize) -> ShardStatistics {
        let nanos = |figure: &Figure| Duration::from_nanos(figure.get());
        ShardStatistics {
            shard,
            tunnels: self.tunnels.get(),
            streams: self.streams.get(),
            pairs: self.pairs.get(),
            setting_up: self.setting_up.get(),
            buffered_bytes: self.buffered_bytes.get(),
            accepted: self.accepted.get(),
            handshakes: self.handshakes.get(),
            handshakes_failed: self.handshakes_failed.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            starved: self.starved.get(),
            turns: TurnLengths {
                counts: std::array::from_fn(|bucket| self.turns[bucket].get()),
                sum: nanos(&self.turns_nanos),
                longest: nanos(&self.longest_nanos),
            },
        }
    }

    /// From the thread that reads. A turn that ends at this very moment may put an older length back.
    pub(crate) fn reset_longest(&self) {
        self.longest_nanos.set(0);
    }

    fn turned(&self, length: Duration) {
        let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        self.turns[TurnLengths::bucket(length)].add(1);
        self.turns_nanos.add(nanos);
        if nanos > self.longest_nanos.get() {
            self.longest_nanos.set(nanos);
        }
    }
}

impl Shard {
    pub(crate) fn figures(&self) -> &Figures {
        self.mailboxes[self.id].figures()
    }

    /// The turn is over: the ring is entered again. Costs one reading of the clock.
    pub(super) fn turned(&self) {
        // The first began when the driver was made, and waited for the other shards.
        if self.has_turned.replace(true) {
            self.figures().turned(Instant::now().saturating_duration_since(self.driver.now()));
        }
    }

    /// Shows what the shard has now.
    pub(super) fn show_figures(&self, tables: &Tables) {
        let figures = self.figures();
        let counters = self.driver.counters();
        figures.tunnels.set(tables.tunnels.len() as u64);
        figures.streams.set(tables.relays.len() as u64);
        figures.pairs.set(tables.pairs.len() as u64);
        figures.setting_up.set(self.setting_up.get() as u64);
        figures.buffered_bytes.set(tables.buffered.bytes() as u64);
        figures.accepted.set(counters.accepted);
        figures.bytes_in.set(counters.bytes_in_chatty + counters.bytes_in_bulk);
        figures.bytes_out.set(counters.bytes_out + counters.bytes_out_direct);
        figures.starved.set(counters.starved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_that_since_it_was_asked_for() {
        let figures = Figures::default();
        for micros in [3, 900, 40] {
            figures.turned(Duration::from_micros(micros));
        }
        let turns = figures.read(1).turns;
        assert_eq!((turns.longest, turns.sum), (Duration::from_micros(900), Duration::from_micros(943)));
        assert_eq!((turns.counts[2], turns.counts[10], turns.counts[6]), (1, 1, 1));

        figures.reset_longest();
        figures.turned(Duration::from_micros(7));
        let turns = figures.read(1).turns;
        assert_eq!(turns.longest, Duration::from_micros(7));
        assert_eq!(turns.counts.iter().sum::<u64>(), 4, "what was counted stays");
    }
}
