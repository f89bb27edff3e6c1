//! How long to wait before a control plane that was lost is tried again.
//!
//! Twice as long after each failure, up to a bound, and each time a little less than that by chance: the proxies of a
//! cluster must not come back to a server together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pause after the first failure: a server that only restarts is back soon.
const RECONNECT_PAUSE_MS_MIN: u64 = 10;

/// The longest pause, in milliseconds: a server that is back is noticed within this time.
const RECONNECT_PAUSE_MS_MAX: u64 = 15_000;

/// By how much of itself a pause is shortened at most, in percent.
const RECONNECT_JITTER_PERCENT: u64 = 20;

/// The failures in a row, and between which pauses they lead.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    least: Duration,
    most: Duration,
}

impl Backoff {
    /// With other bounds than the usual ones.
    pub(crate) fn between(least: Duration, most: Duration) -> Self {
        Self { failures: 0, least, most }
    }

    /// Notes a failure: how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        self.after(entropy())
    }

    /// The same after a try that went well for so long: one that lasted longer than the longest pause was a success, a
    /// shorter one may end the same way at once.
    pub(crate) fn next_after(&mut self, stood: Duration) -> Duration {
        if stood > self.most {
            self.reset();
        }
        self.next()
    }

    /// It worked: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn after(&mut self, entropy: u64) -> Duration {
        let doubled = self.least * (1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        shortened(doubled.min(self.most), entropy)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        let milliseconds = Duration::from_millis;
        Self::between(milliseconds(RECONNECT_PAUSE_MS_MIN), milliseconds(RECONNECT_PAUSE_MS_MAX))
    }
}

/// A pause that is the same for many, a little less by chance.
pub(crate) fn spread(pause: Duration) -> Duration {
    shortened(pause, entropy())
}

fn entropy() -> u64 {
    RandomState::new().hash_one(())
}

fn shortened(pause: Duration, entropy: u64) -> Duration {
    let thousandths = entropy % (RECONNECT_JITTER_PERCENT * 10 + 1);
    pause.mul_f64(1.0 - thousandths as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..40).map(|_| backoff.after(0).as_millis()).collect();
        assert_eq!(pauses[..12], [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 15_000]);
        assert!(pauses[12..].iter().all(|pause| *pause == 15_000));
        backoff.reset();
        assert_eq!(backoff.after(0).as_millis(), 10);
    }

    #[test]
    fn other_bounds_are_kept() {
        let mut backoff = Backoff::between(Duration::from_millis(500), Duration::from_secs(5));
        let pauses: Vec<u128> = (0..6).map(|_| backoff.after(0).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn only_what_stood_for_long_was_a_success() {
        let mut backoff = Backoff::between(Duration::from_millis(500), Duration::from_secs(5));
        for (stood, whole) in [(0, 500), (0, 1_000), (5, 2_000), (6, 500), (0, 1_000)] {
            let pause = backoff.next_after(Duration::from_secs(stood)).as_millis();
            assert!((whole * 4 / 5..=whole).contains(&pause), "{pause} of {whole}");
        }
    }

    #[test]
    fn chance_shortens_a_pause_by_a_fifth_at_most() {
        for entropy in [0, 1, 999, 2_000, u64::MAX / 3, u64::MAX] {
            let pause = Backoff::default().after(entropy).as_micros();
            assert!((8_000..=10_000).contains(&pause), "{entropy}: {pause}");
        }
    }
}
