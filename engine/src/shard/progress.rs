//! Going round the connections of a shard now and then, to tell what those that live have carried.
//!
//! A round looks at a bounded number of connections per turn and goes on in the next, so that many connections make many
//! turns and not a long one.

use std::time::Duration;

use super::{Key, Kind, Shard, Tables};
use crate::observe::{Observation, Record, Traffic};

/// From the end of a round to the next. Metrics are scraped every 15 s or so, and should not show what was true before
/// the last scrape.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Connections that one turn looks at: a few microseconds. Few in tests, so that a round takes several turns there.
const PROGRESS_PER_TURN_MAX: u32 = if cfg!(test) { 2 } else { 256 };

#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// A round is under way, or its timer runs.
    expected: bool,
    /// Where the round goes on: slots of relays, and behind them those of pairs.
    at: Option<u32>,
}

// === impl Rounds ===

impl Rounds {
    /// Its time has come.
    pub(crate) fn begin(&mut self) {
        self.at = Some(0);
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.at.is_none()
    }
}

impl Tables {
    /// There is a connection to tell of.
    pub(crate) fn expect_progress(&mut self) {
        if !std::mem::replace(&mut self.rounds.expected, true) {
            self.driver.timer(self.driver.now() + PROGRESS_INTERVAL, Key::SHARD.token(Kind::RoundsTimer));
        }
    }

    /// The record at a place of the round, with what its connection has carried.
    fn at_round(&mut self, place: u32) -> Option<(&mut Record, Traffic)> {
        let relays = self.relays.slots();
        if place < relays {
            let key = self.relays.at(place)?;
            let relay = self.relays.get_mut(key).filter(|relay| relay.is_open())?;
            let traffic = relay.traffic();
            return Some((&mut relay.record, traffic));
        }
        let key = self.pairs.at(place - relays)?;
        let pair = self.pairs.get_mut(key).filter(|pair| pair.is_open())?;
        let traffic = pair.traffic();
        Some((&mut pair.record, traffic))
    }

    /// Looks at the next connections of the round that is under way. False: there is nothing more to do now. `tell` takes
    /// an observation, or does not: then whoever listens is far behind, and hears the rest in the next round.
    fn go_round(&mut self, tell: impl Fn(Observation) -> bool) -> bool {
        let Some(first) = self.rounds.at.take() else { return false };
        let places = self.relays.slots() + self.pairs.slots();
        let until = places.min(first + PROGRESS_PER_TURN_MAX);
        let heard = (first..until).all(|place| {
            let Some((record, traffic)) = self.at_round(place) else { return true };
            let Some(progress) = record.progress(traffic) else { return true };
            let heard = tell(progress);
            if heard {
                record.set_reported(traffic);
            }
            heard
        });
        if heard && until < places {
            self.rounds.at = Some(until);
            return true;
        }
        self.rounds.expected = false;
        if !self.relays.is_empty() || !self.pairs.is_empty() {
            self.expect_progress();
        }
        false
    }
}

impl Shard {
    /// One turn's part of telling what connections have carried. True: there is more to tell in the next.
    pub(super) fn report_progress(&self) -> bool {
        self.tables.borrow_mut().go_round(|observation| self.reports.offer(observation))
    }
}
