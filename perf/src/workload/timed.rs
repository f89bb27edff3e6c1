//! The window of a test that a program of others times itself: it has to be closed before that ends.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

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

/// Opens the window when `skipped` has passed since a test was seen to begin, and closes it before `length` more has. How
/// many seconds it was open.
pub(super) fn measure(
    window: &mut Window<'_>,
    begun: Instant,
    skipped: Duration,
    length: Duration,
) -> Result<f64> {
    sleep_until(begun + skipped);
    window.open()?;
    let opened = Instant::now();
    sleep_until(begun + skipped + length.saturating_sub(LATE));
    let seconds = opened.elapsed().as_secs_f64();
    window.close()?;
    ensure!(
        seconds >= length.as_secs_f64() * OPEN_SHARE_MIN,
        "this machine is too busy: of {length:?} the window was open for {seconds:.3} s"
    );
    Ok(seconds)
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
