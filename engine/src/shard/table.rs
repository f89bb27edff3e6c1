//! The tables of a shard: connections as plain data, found by slot, safe against late completions.
//!
//! A slot is used again only when every operation of its entry has come back, so that neither the kernel nor a late
//! completion can meet a stranger in it (rules of the driver, 3 and 4).

use crate::uring::Token;

/// Names an entry for as long as it lives; a key that outlived its entry finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    slot: u32,
    generation: u32,
}

/// Which table and which operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Listener = 1,
    TunnelReceive,
    TunnelSend,
    TunnelTimer,
    AppReceive,
    AppSend,
    AppWatch,
    PairReceive,
    PairSend,
    PairReceiveBack,
    PairSendBack,
    PairWatch,
    PairWatchBack,
    ListenerTimer,
    ProgressTimer,
}

/// Generations wrap after this many uses of one slot; tokens have 24 bits for them.
const GENERATIONS: u32 = 1 << 24;

#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

// === impl Key ===

impl Key {
    /// For what concerns a whole shard and no entry of a table.
    pub(crate) const SHARD: Self = Self { slot: 0, generation: 0 };

    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    pub(crate) fn token(self, kind: Kind) -> Token {
        Token(u64::from(kind as u8) << 56 | u64::from(self.generation) << 32 | u64::from(self.slot))
    }

    /// The kind and key that a token was made of; `None` for a token that none of ours made.
    pub(crate) fn of(token: Token) -> Option<(Kind, Self)> {
        let kind = match (token.0 >> 56) as u8 {
            1 => Kind::Listener,
            2 => Kind::TunnelReceive,
            3 => Kind::TunnelSend,
            4 => Kind::TunnelTimer,
            5 => Kind::AppReceive,
            6 => Kind::AppSend,
            7 => Kind::AppWatch,
            8 => Kind::PairReceive,
            9 => Kind::PairSend,
            10 => Kind::PairReceiveBack,
            11 => Kind::PairSendBack,
            12 => Kind::PairWatch,
            13 => Kind::PairWatchBack,
            14 => Kind::ListenerTimer,
            15 => Kind::ProgressTimer,
            _ => return None,
        };
        let generation = (token.0 >> 32) as u32 & (GENERATIONS - 1);
        Some((kind, Self { slot: token.0 as u32, generation }))
    }
}

// === impl Table ===

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            debug_assert!(entry.value.is_none(), "a free slot is empty");
            entry.value = Some(value);
            return Key { slot, generation: entry.generation };
        }
        let slot = self.entries.len() as u32;
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Key { slot, generation: 0 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        entry.value.as_mut().filter(|_| entry.generation == key.generation)
    }

    /// The entry that holds a slot now, for callers who know that it cannot have changed hands.
    pub(crate) fn at(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        entry.value.as_ref().map(|_| Key { slot, generation: entry.generation })
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) % GENERATIONS;
        self.free.push(key.slot);
        Some(value)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        (0..self.entries.len() as u32).filter_map(|slot| self.at(slot)).collect()
    }

    /// Slots that have ever been used.
    pub(crate) fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.value.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_its_successor() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_token_comes_back_as_kind_and_key() {
        let key = Key { slot: 77, generation: GENERATIONS - 1 };
        for kind in [Kind::Listener, Kind::TunnelTimer, Kind::AppWatch, Kind::PairSendBack] {
            assert_eq!(Key::of(key.token(kind)), Some((kind, key)));
        }
        assert_eq!(Key::of(Token(0)), None);
    }
}
