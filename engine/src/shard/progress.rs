//! Looking now and then at the connections that live: what they have carried is told, and those that were forgotten half
//! closed are ended.

use std::time::Duration;

use super::round::{Met, Round};
use super::{Key, Kind, Shard, Tables};
use crate::hbone::ErrorCode;
use crate::observe::{Observation, Record, Traffic};
use crate::relay::HALF_CLOSED_CAUSE;

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

    /// The record of a connection, with what it has carried, and whether it has been half closed for too long.
    fn looked_at(&mut self, met: Met) -> Option<(&mut Record, Traffic, bool)> {
        let now = self.driver.now();
        match met {
            Met::Relay(key) => {
                let relay = self.relays.get_mut(key).filter(|relay| relay.is_open())?;
                let (traffic, half_closed) = (relay.traffic(), relay.is_half_closed());
                let over = relay.half_closed.is_over(half_closed, traffic, now);
                Some((&mut relay.record, traffic, over))
            }
            Met::Pair(key) => {
                let pair = self.pairs.get_mut(key).filter(|pair| pair.is_open())?;
                let (traffic, half_closed) = (pair.traffic(), pair.is_half_closed());
                let over = pair.half_closed.is_over(half_closed, traffic, now);
                Some((&mut pair.record, traffic, over))
            }
        }
    }

    /// The side that has not ended learns that nobody waits for it any more.
    fn end_half_closed(&mut self, met: Met) {
        match met {
            Met::Relay(key) => {
                self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(HALF_CLOSED_CAUSE.to_owned()))
            }
            Met::Pair(key) => self.drop_pair(key, HALF_CLOSED_CAUSE),
        }
    }

    /// Looks at the next connections of the round that is under way. `tell` takes an observation, or does not: then
    /// whoever listens is far behind, and hears it in the next round.
    fn tell_progress(&mut self, tell: impl Fn(Observation) -> bool) {
        let Some(part) = self.progress.round.part(self.places(), PROGRESS_PER_TURN_MAX) else { return };
        for place in part {
            let Some(met) = self.met(place) else { continue };
            let Some((record, traffic, over)) = self.looked_at(met) else { continue };
            if record.progress(traffic).is_some_and(&tell) {
                record.set_reported(traffic);
            }
            if over {
                self.end_half_closed(met);
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
