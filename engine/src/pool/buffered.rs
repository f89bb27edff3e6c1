//! Bytes that applications have not taken yet, counted for their tunnel and for the whole shard at once.

use std::cell::Cell;
use std::ops::{AddAssign, SubAssign};
use std::rc::Rc;

/// The bytes of one tunnel. What is left of them when the tunnel goes is left out of the shard's as well.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    bytes: usize,
    shard: ShardBuffered,
}

/// The bytes of all tunnels of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardBuffered(Rc<Cell<usize>>);

// === impl Buffered ===

impl Buffered {
    /// Counts for a shard from here on.
    pub(crate) fn join(&mut self, shard: &ShardBuffered) {
        shard.0.set(shard.0.get() + self.bytes);
        self.shard.0.set(self.shard.0.get() - self.bytes);
        self.shard = shard.clone();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl AddAssign<usize> for Buffered {
    fn add_assign(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.shard.0.set(self.shard.0.get() + bytes);
    }
}

impl SubAssign<usize> for Buffered {
    fn sub_assign(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.shard.0.set(self.shard.0.get() - bytes);
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.shard.0.set(self.shard.0.get() - self.bytes);
    }
}

// === impl ShardBuffered ===

impl ShardBuffered {
    pub(crate) fn bytes(&self) -> usize {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_counts_what_its_tunnels_count() {
        let shard = ShardBuffered::default();
        let [mut one, mut other] = [Buffered::default(), Buffered::default()];
        one += 5; // Before it is in the table.
        one.join(&shard);
        other.join(&shard);
        other += 100;
        one -= 2;
        assert_eq!((one.bytes(), other.bytes(), shard.bytes()), (3, 100, 103));
        drop(other);
        assert_eq!(shard.bytes(), 3);
        one -= 3;
        assert_eq!(shard.bytes(), 0);
    }
}
