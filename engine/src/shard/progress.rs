//! Telling now and then what the connections that live have carried.

use std::time::Duration;

use super::round::{Met, Round};
use super::{Key, Kind, Shard, Tables};
use crate::observe::{Observation, Record, Traffic};

/// From the end of a round to the next. Metrics are scraped every 15 s or so, and should not show what was true before
/// the last scrape.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Connections that one turn looks at: a few microseconds. Few in tests, so that a round takes several turns there.
const PROGRESS_PER_TURN_MAX: u32 = if cfg!(test) { 2 } else { 256 };

#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// A round is under way, or its timer runs.
    expected: bool,
    round: Round,
}

// === impl Progress ===

impl Progress {
    /// The time of the next round has come.
    pub(crate) fn begin(&mut self) {
        self.round.begin();
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.round.is_over()
    }
}

impl Tables {
    /// There is a connection to tell of.
    pub(crate) fn expect_progress(&mut self) {
        if !std::mem::replace(&mut self.progress.expected, true) {
            self.driver.timer(self.driver.now() + PROGRESS_INTERVAL, Key::SHARD.token(Kind::ProgressTimer));
        }
    }

    /// The record of the connection at a place, with what it has carried.
    fn carried_at(&mut self, place: u32) -> Option<(&mut Record, Traffic)> {
        match self.met(place)? {
            Met::Relay(key) => {
                let relay = self.relays.get_mut(key).filter(|relay| relay.is_open())?;
                let traffic = relay.traffic();
                Some((&mut relay.record, traffic))
            }
            Met::Pair(key) => {
                let pair = self.pairs.get_mut(key).filter(|pair| pair.is_open())?;
                let traffic = pair.traffic();
                Some((&mut pair.record, traffic))
            }
        }
    }

    /// Looks at the next connections of the round that is under way. `tell` takes an observation, or does not: then
    /// whoever listens is far behind, and hears it in the next round.
    fn tell_progress(&mut self, tell: impl Fn(Observation) -> bool) {
        let Some(part) = self.progress.round.part(self.places(), PROGRESS_PER_TURN_MAX) else { return };
        for place in part {
            let Some((record, traffic)) = self.carried_at(place) else { continue };
            if record.progress(traffic).is_some_and(&tell) {
                record.set_reported(traffic);
            }
        }
        if self.progress.round.is_over() {
            self.progress.expected = false;
            if !self.relays.is_empty() || !self.pairs.is_empty() {
                self.expect_progress();
            }
        }
    }
}

impl Shard {
    /// One turn's part of telling what connections have carried. True: there is more to tell in the next.
    pub(super) fn report_progress(&self) -> bool {
        let mut tables = self.tables.borrow_mut();
        tables.tell_progress(|observation| self.reports.offer(observation));
        !tables.progress.round.is_over()
    }
}
