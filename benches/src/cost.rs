//! What a piece of work costs: CPU time of this process and allocations.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::allocations;

/// CPU seconds and allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub cpu_seconds: f64,
    pub allocations: f64,
}

/// Runs `work`; what it cost.
pub fn of(work: impl FnOnce()) -> Cost {
    let (cpu_before, allocations_before) = (cpu_time(), allocations::count());
    work();
    let (cpu, allocations) = (cpu_time() - cpu_before, allocations::count() - allocations_before);
    Cost { cpu_seconds: cpu.as_secs_f64(), allocations: allocations as f64 }
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    now.expect("invariant: Linux has had this clock since 2.6.12").into()
}

/// The middle of several values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
