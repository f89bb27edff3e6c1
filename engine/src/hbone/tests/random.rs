//! A small seeded generator (SplitMix64): the same seed gives the same schedule.

/// How much to send through two windows, so that tiny ones do not take for ever.
pub(super) fn content_bytes_max(one: u32, other: u32) -> usize {
    (200 * one.min(other) as usize).min(150_000)
}

#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A stream window, from tiny to large.
    pub(super) fn window(&mut self) -> u32 {
        16 + self.length(300_000) as u32
    }

    /// Lengths as they come in traffic: mostly small, sometimes large.
    pub(super) fn length(&mut self, max: usize) -> usize {
        let bits = self.below(max.ilog2() as usize + 1);
        1 + self.below(max.min(1 << (bits + 1)))
    }
}
