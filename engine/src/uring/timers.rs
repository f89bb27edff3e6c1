//! The timers of one shard: a hierarchical wheel of millisecond ticks.
//!
//! Setting and cancelling cost the same whatever the number of timers; the kernel is never told of one, the wait of the
//! next enter is simply no longer than to the next of them. Time is an argument everywhere here. A timer never fires
//! before its instant and at most one tick after it (plus the length of the turn that is running).
//!
//! Level 0 has a slot for each of the next 64 ticks, level 1 for each 64 of the next 4,096, and so on. A timer sits in the
//! lowest level in which its tick differs from the present one, and moves down as time comes near.

use std::time::{Duration, Instant};

/// 64^6 ms are two years; a timer beyond that is looked at again then.
const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NONE: u32 = u32::MAX;

/// Names a timer; harmless once it has fired or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// Timers by tick, each carrying a `T`.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    slots: [[List; SLOTS]; LEVELS],
    /// For each level, which slots hold timers.
    occupied: [u64; LEVELS],
    due: List,
    /// Every timer of this tick or before is in `due`.
    elapsed: u64,
}

/// Converts between instants and ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Instant,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    payload: Option<T>,
    tick: u64,
    place: Place,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Free,
    Due,
    Slot { level: u8, slot: u8 },
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new(base: Instant) -> Self {
        Self { base }
    }

    /// The first tick at which `at` has come.
    pub(super) fn tick_at(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        since.as_nanos().div_ceil(1_000_000) as u64
    }

    /// The last tick that has come at `now`.
    pub(super) fn tick_of(self, now: Instant) -> u64 {
        now.saturating_duration_since(self.base).as_millis() as u64
    }

    /// From `now` to the beginning of `tick`.
    pub(super) fn until(self, tick: u64, now: Instant) -> Duration {
        Duration::from_millis(tick).saturating_sub(now.saturating_duration_since(self.base))
    }
}

// === impl Wheel ===

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            slots: [[List::EMPTY; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            due: List::EMPTY,
            elapsed: 0,
        }
    }

    pub(super) fn insert(&mut self, tick: u64, payload: T) -> TimerId {
        let index = self.allocate(tick, payload);
        self.put(index);
        TimerId { index, generation: self.entries[index as usize].generation }
    }

    pub(super) fn get_mut(&mut self, id: TimerId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        entry.payload.as_mut()
    }

    pub(super) fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.get_mut(id)?;
        self.unlink(id.index);
        self.release(id.index)
    }

    /// When to call `advance` next: the tick of a timer, or an earlier one at which timers move down.
    pub(super) fn next_tick(&self) -> Option<u64> {
        if self.due.first != NONE {
            return Some(self.elapsed);
        }
        self.next_slot().map(|(_, _, tick)| tick)
    }

    /// Moves every timer whose tick is not after `now` to those that `pop` gives, in order of their ticks.
    pub(super) fn advance(&mut self, now: u64) {
        while let Some((level, slot, tick)) = self.next_slot()
            && tick <= now
        {
            debug_assert!(tick >= self.elapsed);
            self.elapsed = tick;
            let mut list = std::mem::replace(&mut self.slots[level][slot], List::EMPTY);
            self.occupied[level] &= !(1 << slot);
            while list.first != NONE {
                let index = list.first;
                list.first = self.entries[index as usize].after;
                self.put(index);
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// How many timers `pop` will give.
    pub(super) fn due(&self) -> usize {
        let mut count = 0;
        let mut index = self.due.first;
        while index != NONE {
            count += 1;
            index = self.entries[index as usize].after;
        }
        count
    }

    /// Forgets every timer and gives back what they carried.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let live = self.entries.iter().enumerate().filter(|(_, entry)| entry.place != Place::Free);
        let indices: Vec<_> = live.map(|(index, _)| index as u32).collect();
        let mut payloads = Vec::with_capacity(indices.len());
        for index in indices {
            self.unlink(index);
            payloads.extend(self.release(index));
        }
        payloads
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let index = self.due.first;
        if index == NONE {
            return None;
        }
        self.unlink(index);
        self.release(index)
    }

    /// The slot that comes first, with the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS).find_map(|level| {
            let occupied = self.occupied[level];
            if occupied == 0 {
                return None;
            }
            let shift = SLOT_BITS * level as u32;
            let present = (self.elapsed >> shift) as u32 % SLOTS as u32;
            // The present slot comes last: what it holds is of the next round.
            let ahead = occupied.rotate_right(present + 1).trailing_zeros() + 1;
            let slot = ((present + ahead) % SLOTS as u32) as usize;
            let range = 1_u64 << (shift + SLOT_BITS);
            let mut tick = (self.elapsed & !(range - 1)) + ((slot as u64) << shift);
            // Behind us: it is the next round's. Happens on the highest level only.
            if tick <= self.elapsed {
                debug_assert_eq!(level, LEVELS - 1);
                tick += range;
            }
            Some((level, slot, tick))
        })
    }

    /// Links an entry where its tick belongs.
    fn put(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        if tick <= self.elapsed {
            self.link(index, Place::Due);
            return;
        }
        // The highest bit in which the two differ says which level tells them apart.
        let differing = 63 - (self.elapsed ^ tick).leading_zeros();
        let level = ((differing / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.link(index, Place::Slot { level: level as u8, slot: slot as u8 });
    }

    fn link(&mut self, index: u32, place: Place) {
        let last = self.list(place).last;
        let entry = &mut self.entries[index as usize];
        (entry.place, entry.before, entry.after) = (place, last, NONE);
        match last {
            NONE => self.list(place).first = index,
            last => self.entries[last as usize].after = index,
        }
        self.list(place).last = index;
        if let Place::Slot { level, slot } = place {
            self.occupied[usize::from(level)] |= 1 << slot;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { place, before, after, .. } = self.entries[index as usize];
        match before {
            NONE => self.list(place).first = after,
            before => self.entries[before as usize].after = after,
        }
        match after {
            NONE => self.list(place).last = before,
            after => self.entries[after as usize].before = before,
        }
        if let Place::Slot { level, slot } = place
            && self.list(place).first == NONE
        {
            self.occupied[usize::from(level)] &= !(1 << slot);
        }
    }

    fn list(&mut self, place: Place) -> &mut List {
        match place {
            Place::Slot { level, slot } => &mut self.slots[usize::from(level)][usize::from(slot)],
            Place::Due | Place::Free => &mut self.due,
        }
    }

    fn allocate(&mut self, tick: u64, payload: T) -> u32 {
        if self.free == NONE {
            let index = self.entries.len() as u32;
            let payload = Some(payload);
            self.entries.push(Entry {
                generation: 0,
                payload,
                tick,
                place: Place::Free,
                before: NONE,
                after: NONE,
            });
            return index;
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.after;
        (entry.tick, entry.payload) = (tick, Some(payload));
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        (entry.place, entry.after) = (Place::Free, self.free);
        self.free = index;
        entry.payload.take()
    }
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

#[cfg(test)]
mod tests;
