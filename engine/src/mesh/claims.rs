//! An index whose keys may be claimed by several: an IP address by two workloads, a hostname in two namespaces.
//!
//! The claims of a key keep their order. Whoever is released uncovers those before it, so the order in which things
//! appear and go never leaves a key without its rightful owner. Clones share their structure.

use std::hash::Hash;
use std::sync::Arc;

use rpds::HashTrieMapSync;

pub(super) struct Claims<K: Eq + Hash, T> {
    claimants: HashTrieMapSync<K, Vec<Arc<T>>>,
}

impl<K: Eq + Hash + Clone, T> Claims<K, T> {
    /// In order of their arrival.
    pub(super) fn of(&self, key: &K) -> &[Arc<T>] {
        self.claimants.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn latest(&self, key: &K) -> Option<&Arc<T>> {
        self.of(key).last()
    }

    pub(super) fn claim(&mut self, key: K, claimant: &Arc<T>) {
        match self.claimants.get_mut(&key) {
            Some(claimants) => claimants.push(Arc::clone(claimant)),
            None => self.claimants.insert_mut(key, vec![Arc::clone(claimant)]),
        }
    }

    /// Withdraws the claim that this very value made.
    pub(super) fn release(&mut self, key: &K, claimant: &Arc<T>) {
        let Some(claimants) = self.claimants.get_mut(key) else { return };
        claimants.retain(|other| !Arc::ptr_eq(other, claimant));
        if claimants.is_empty() {
            self.claimants.remove_mut(key);
        }
    }
}

impl<K: Eq + Hash, T> Default for Claims<K, T> {
    fn default() -> Self {
        Self { claimants: HashTrieMapSync::default() }
    }
}

impl<K: Eq + Hash, T> Clone for Claims<K, T> {
    fn clone(&self) -> Self {
        Self { claimants: self.claimants.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_claim_covers_the_earlier_ones_until_it_is_released() {
        let mut claims: Claims<u8, &str> = Claims::default();
        let (first, second) = (Arc::new("first"), Arc::new("second"));
        assert_eq!(claims.latest(&1), None);
        claims.claim(1, &first);
        claims.claim(1, &second);
        assert_eq!(claims.of(&1), [Arc::clone(&first), Arc::clone(&second)]);
        assert_eq!(claims.latest(&1), Some(&second));

        let before = claims.clone();
        claims.release(&1, &second);
        assert_eq!(claims.latest(&1), Some(&first));
        assert_eq!(before.latest(&1), Some(&second), "a clone is a snapshot");

        claims.release(&1, &second);
        claims.release(&2, &first);
        assert_eq!(claims.latest(&1), Some(&first), "releasing what is not claimed changes nothing");

        claims.release(&1, &first);
        assert!(claims.claimants.is_empty(), "an unclaimed key takes no room");
    }
}
