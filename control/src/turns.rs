//! Turns for others during long work.
//!
//! A thread that reads a large push asks nothing of the kernel for many milliseconds, and the scheduler lets it go on until
//! its next tick, whatever its nice value (docs/perf/control-plane.md). So it says itself when others may go first.

use std::thread;
use std::time::{Duration, Instant};

/// How long work goes on before the core is offered to others: about the time of an exchange between two pods.
const WORK_US_MAX: u64 = 200;

/// A stretch of long work.
#[derive(Debug)]
pub(crate) struct Turns {
    began: Instant,
}

// === impl Turns ===

impl Turns {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// To be called often: gives the core away where the work has gone on for long enough.
    pub(crate) fn give(&mut self) {
        if self.began.elapsed() < Duration::from_micros(WORK_US_MAX) {
            return;
        }
        thread::yield_now();
        self.began = Instant::now();
    }
}
