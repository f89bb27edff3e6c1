//! Going over everything a shard has, a bounded number of places per turn, so that many connections make many turns and
//! not a long one.

use std::ops::Range;

use super::{Key, Tables};

/// How far a round has come. Slots of the tables are its places; what is put into them behind it was made after it
/// began, and need not be seen.
#[derive(Debug, Default)]
pub(crate) struct Round {
    lap: Option<Lap>,
}

#[derive(Debug, Default)]
struct Lap {
    at: u32,
    /// Where it began: it is over when it comes there again.
    began: u32,
    /// It has gone from the last place to the first.
    turned: bool,
    /// How many places there were at its first part.
    places: Option<u32>,
}

/// A connection, as a round meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    Relay(Key),
    Pair(Key),
}

// === impl Round ===

impl Round {
    /// A full lap from the first place; if one is under way, from where it is, so that who begins it again and again does
    /// not keep it from the last places.
    pub(super) fn begin(&mut self) {
        let at = self.lap.as_ref().map_or(0, |lap| lap.at);
        self.lap = Some(Lap { at, began: at, ..Lap::default() });
    }

    pub(super) fn is_over(&self) -> bool {
        self.lap.is_none()
    }

    /// The places of this turn, of so many in all; none if no round is under way.
    pub(super) fn part(&mut self, places: u32, most: u32) -> Option<Range<u32>> {
        let lap = self.lap.as_mut()?;
        let part = lap.part(places, most);
        if lap.has_come_round(places) {
            self.lap = None;
        }
        Some(part)
    }
}

// === impl Lap ===

impl Lap {
    fn part(&mut self, places: u32, most: u32) -> Range<u32> {
        if self.at >= places && !self.turned {
            (self.at, self.turned) = (0, true);
        }
        let end = self.end(places);
        let part = self.at.min(end)..end.min(self.at.saturating_add(most));
        self.at = part.end;
        part
    }

    fn has_come_round(&mut self, places: u32) -> bool {
        self.at >= self.end(places) && (self.turned || self.began == 0)
    }

    /// Places that came to be meanwhile may have shifted those that are still to be met.
    fn end(&mut self, places: u32) -> u32 {
        let grown = places.saturating_sub(*self.places.get_or_insert(places));
        if self.turned { places.min(self.began.saturating_add(grown)) } else { places }
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_round_sees_every_place_once() {
        let mut round = Round::default();
        assert_eq!(round.part(10, 4), None);
        round.begin();
        assert_eq!(round.part(10, 4), Some(0..4));
        assert_eq!(round.part(10, 4), Some(4..8));
        assert!(!round.is_over());
        assert_eq!(round.part(11, 8), Some(8..11));
        assert!(round.is_over());
        round.begin();
        assert_eq!((round.part(0, 8), round.part(0, 8)), (Some(0..0), None));
    }

    /// The parts until the round is over.
    fn rest(round: &mut Round, places: u32, most: u32) -> Vec<Range<u32>> {
        std::iter::from_fn(|| round.part(places, most)).collect()
    }

    #[test]
    fn one_that_is_told_to_begin_goes_on_for_a_full_lap_from_where_it_is() {
        let mut round = Round::default();
        round.begin();
        assert_eq!(round.part(10, 4), Some(0..4));
        round.begin();
        assert_eq!(rest(&mut round, 10, 4), [4..8, 8..10, 0..4]);
        assert!(round.is_over());

        // However often it is told, it comes to every place.
        round.begin();
        let mut met = [false; 10];
        for _ in 0..5 {
            met[round.part(10, 2).unwrap().start as usize] = true;
            round.begin();
        }
        assert_eq!(met.iter().filter(|met| **met).count(), 5);
        assert_eq!(rest(&mut round, 10, 5), [0..5, 5..10]);
    }

    #[test]
    fn what_moves_to_later_places_meanwhile_is_still_met() {
        let mut round = Round::default();
        round.begin();
        assert_eq!(round.part(10, 4), Some(0..4));
        round.begin();
        assert_eq!(round.part(10, 6), Some(4..10));
        // Three places came before those that were at 0..4.
        assert_eq!(rest(&mut round, 13, 4), [10..13, 0..4, 4..7]);
        round.begin();
        assert_eq!(round.part(10, 4), Some(0..4));
        round.begin();
        assert_eq!((round.part(10, 6), round.part(10, 2)), (Some(4..10), Some(0..2)));
        assert_eq!(rest(&mut round, 13, 4), [2..6, 6..7]);
    }
}
