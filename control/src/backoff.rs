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

/// The failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure: how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        self.after(RandomState::new().hash_one(()))
    }

    /// It worked: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn after(&mut self, entropy: u64) -> Duration {
        let doubled = RECONNECT_PAUSE_MS_MIN << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(RECONNECT_PAUSE_MS_MAX) * 1_000;
        let range = pause * RECONNECT_JITTER_PERCENT / 100;
        Duration::from_micros(pause - entropy % (range + 1))
    }
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
    fn chance_shortens_a_pause_by_a_fifth_at_most() {
        for entropy in [0, 1, 999, 2_000, u64::MAX / 3, u64::MAX] {
            let pause = Backoff::default().after(entropy).as_micros();
            assert!((8_000..=10_000).contains(&pause), "{entropy}: {pause}");
        }
    }
}
