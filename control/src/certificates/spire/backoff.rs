//! Pauses between tries: longer after each failure, and not the same for two who failed together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pause after a first failure, before it is shortened by chance.
const PAUSE_MILLIS_MIN: u64 = 500;

#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    most: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// No pause is longer than `most`.
    pub(super) fn new(most: Duration) -> Self {
        Self { failures: 0, most }
    }

    /// How long to wait after a try that ended after this time. One that went well for longer than the longest pause
    /// counts as a success; a shorter one may end the same way at once.
    pub(super) fn pause(&mut self, stood: Duration) -> Duration {
        if stood > self.most {
            self.failures = 0;
        }
        let doubled = Duration::from_millis(PAUSE_MILLIS_MIN << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        shortened(doubled.min(self.most))
    }
}

/// Between half of it and all of it.
pub(super) fn shortened(pause: Duration) -> Duration {
    let thousandths = RandomState::new().hash_one(()) % 501;
    pause.mul_f64(1.0 - thousandths as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(5));
        let mut expect = |stood: u64, whole_millis: u64| {
            let pause = backoff.pause(Duration::from_secs(stood)).as_millis() as u64;
            assert!((whole_millis / 2..=whole_millis).contains(&pause), "{pause} of {whole_millis}");
        };
        for (stood, whole) in
            [(0, 500), (0, 1_000), (0, 2_000), (5, 4_000), (0, 5_000), (0, 5_000), (6, 500), (0, 1_000)]
        {
            expect(stood, whole);
        }
    }

    #[test]
    fn two_who_fail_together_do_not_come_back_together() {
        let whole = Duration::from_secs(100);
        let pauses: std::collections::BTreeSet<Duration> = (0..100).map(|_| shortened(whole)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }
}
