//! Going over everything a shard has, a bounded number of places per turn, so that many connections make many turns and
//! not a long one.

use std::ops::Range;

use super::{Key, Tables};

/// How far a round has come. Slots of the tables are its places; what is put into them behind it was made after it
/// began, and need not be seen.
#[derive(Debug, Default)]
pub(crate) struct Round {
    at: Option<u32>,
}

/// A connection, as a round meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    Relay(Key),
    Pair(Key),
}

// === impl Round ===

impl Round {
    /// From the first place, also if one is under way.
    pub(super) fn begin(&mut self) {
        self.at = Some(0);
    }

    pub(super) fn is_over(&self) -> bool {
        self.at.is_none()
    }

    /// The places of this turn, of so many in all; none if no round is under way.
    pub(super) fn part(&mut self, places: u32, most: u32) -> Option<Range<u32>> {
        let first = self.at.take()?;
        let until = places.min(first.saturating_add(most));
        self.at = (until < places).then_some(until);
        Some(first..until)
    }
}

impl Tables {
    /// Places of a round over all connections.
    pub(super) fn places(&self) -> u32 {
        self.relays.slots() + self.pairs.slots()
    }

    /// The connection at a place: relays come first. A table that grows meanwhile shifts those behind it, and some are met
    /// twice.
    pub(super) fn met(&self, place: u32) -> Option<Met> {
        match place.checked_sub(self.relays.slots()) {
            None => self.relays.at(place).map(Met::Relay),
            Some(place) => self.pairs.at(place).map(Met::Pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_sees_every_place_once_and_begins_anew_when_told() {
        let mut round = Round::default();
        assert_eq!(round.part(10, 4), None);
        round.begin();
        assert_eq!(round.part(10, 4), Some(0..4));
        assert_eq!(round.part(10, 4), Some(4..8));
        assert!(!round.is_over());
        round.begin();
        assert_eq!(round.part(10, 8), Some(0..8));
        assert_eq!(round.part(11, 8), Some(8..11));
        assert!(round.is_over());
        round.begin();
        assert_eq!((round.part(0, 8), round.part(0, 8)), (Some(0..0), None));
    }
}
