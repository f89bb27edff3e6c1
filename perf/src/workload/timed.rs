//! The window of a test that a program of others times itself: it has to be closed before that ends.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;
use crate::measure::Window;

/// By how much later than the program we may have seen its test begin.
const LATE: Duration = Duration::from_millis(100);

/// Opening takes a moment, on a busy machine a long one. A window that was open for less than this share of a test says
/// nothing about it.
const OPEN_SHARE_MIN: f64 = 0.1;

/// The length of a test in the whole seconds that iperf3 and netperf know.
pub(super) fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs(seconds.ceil().max(1.0) as u64)
}

/// How often a test is begun anew whose window was not open long enough.
const ATTEMPTS_MAX: usize = 3;

/// What `test` says of the first attempt in which the window was open long enough.
pub(super) fn attempt<T>(mut test: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(measured) = test()? {
            return Ok(measured);
        }
    }
    bail!("this machine is too busy: in {ATTEMPTS_MAX} tests the window hardly opened before their end")
}

/// The warm-up in whole seconds: a short one is none, since it would be longer than what it is to warm up for.
pub(super) fn whole_warm_up(seconds: f64) -> Duration {
    Duration::from_secs(seconds.round() as u64)
}

/// Opens the window when `skipped` has passed since a test was seen to begin, and closes it before `length` more has. How
/// many seconds it was open; `None` when that is too short to say anything.
pub(super) fn measure(
    window: &mut Window<'_>,
    begun: Instant,
    skipped: Duration,
    length: Duration,
) -> Result<Option<f64>> {
    sleep_until(begun + skipped)?;
    window.open()?;
    let opened = Instant::now();
    sleep_until(begun + skipped + length.saturating_sub(LATE))?;
    let seconds = opened.elapsed().as_secs_f64();
    if seconds < length.as_secs_f64() * OPEN_SHARE_MIN {
        window.abandon();
        return Ok(None);
    }
    window.close()?;
    Ok(Some(seconds))
}

fn sleep_until(moment: Instant) -> Result<()> {
    interrupt::sleep(moment.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tests_last_whole_seconds_and_warm_up_as_near_as_that_comes() {
        assert_eq!([0.2, 1.0, 2.5].map(|seconds| whole_seconds(seconds).as_secs()), [1, 1, 3]);
        assert_eq!([0.0, 0.1, 1.0, 1.6].map(|seconds| whole_warm_up(seconds).as_secs()), [0, 0, 1, 2]);
    }

    #[test]
    fn a_test_that_was_missed_is_begun_anew_and_not_for_ever() {
        let mut attempts = 0;
        let third = attempt(|| {
            attempts += 1;
            Ok((attempts == ATTEMPTS_MAX).then_some(attempts))
        });
        assert_eq!(third.unwrap(), ATTEMPTS_MAX);
        let error = attempt::<()>(|| Ok(None)).unwrap_err().to_string();
        assert!(error.contains("too busy"), "{error}");
        assert!(attempt::<()>(|| bail!("iperf3 failed")).unwrap_err().to_string().contains("iperf3"));
    }
}
