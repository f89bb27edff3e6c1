//! System calls of the proxies, counted by `perf stat` in a pass of its own: counting costs time at every call, so nothing
//! else is taken from this pass.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testkit::shell;

use super::attached::Attached;
use super::headline::headline;
use super::{Order, Stand, drive, start_all};
use crate::progress::Progress;
use crate::record::{Plan, Sample};
use crate::workload::{Volume, Workload};

/// A count needs no long window.
const WINDOW_SECONDS: f64 = 1.0;

const EVENT: &str = "raw_syscalls:sys_enter";

/// What perf says in place of a number when nothing that it watched ran.
const NOT_COUNTED: &str = "<not counted>";

/// Why they can't be counted here.
pub(crate) fn unavailable() -> Option<String> {
    if shell::find_program("perf").is_none() {
        return Some("perf is not installed (Debian: linux-perf)".to_owned());
    }
    let mut trial = Command::new("perf");
    let trial =
        trial.args(["stat", "-x,", "-e", EVENT, "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let counts = trial.is_ok_and(|status| status.success());
    (!counts).then(|| format!("perf can't count {EVENT} here"))
}

/// Each of those workloads once through every target that runs something.
pub(super) fn pass(order: &Order, progress: &mut Progress) -> Result<Vec<Sample>> {
    let plan = Plan { seconds: WINDOW_SECONDS.min(order.plan.seconds), ..order.plan.clone() };
    let mut samples = Vec::new();
    if order.syscalls_of.is_empty() {
        return Ok(samples);
    }
    let mut stands = start_all(order, 0)?;
    for &workload in &order.syscalls_of {
        for stand in &mut stands {
            if !is_counted(stand, workload) {
                continue;
            }
            let place = || format!("system calls of {} through {}", workload.name, stand.target.name());
            let sample = count(&plan, stand, workload).with_context(place)?;
            progress.done(&headline(&sample));
            // Where bytes and messages move at once, nobody can tell whose calls they were.
            samples.extend(Some(sample).filter(|sample| !sample.figures.is_empty()));
        }
    }
    Ok(samples)
}

/// Whether the pass has something to count there.
pub(super) fn is_counted(stand: &Stand<'_>, workload: &Workload) -> bool {
    let runs = stand.standing.processes().next().is_some();
    runs && stand.target.cannot(workload).is_none()
}

fn count(plan: &Plan, stand: &Stand<'_>, workload: &Workload) -> Result<Sample> {
    let counter = Attached::start(&stand.standing, &["stat", "-x,", "-e", EVENT])?;
    let (outcome, measured) = drive(plan, stand, workload, Some(counter))?;
    let mut sample = Sample {
        // Behind the rounds.
        round: plan.rounds,
        target: stand.target.name().to_owned(),
        workload: workload.name.to_owned(),
        seconds: measured.seconds,
        ..Sample::default()
    };
    let by = match outcome.volume {
        Volume::Bytes(bytes) => Some(("syscalls_per_mb", bytes / 1e6)),
        Volume::Operations(operations) => Some(("syscalls_per_op", operations)),
        Volume::Unclear => None,
    };
    if let Some(((key, by), said)) = by.zip(measured.perf_said.as_deref()) {
        sample.figures.extend(parse(said)?.map(|calls| (key.to_owned(), calls / by)));
    }
    Ok(sample)
}

/// A line like `12345,,raw_syscalls:sys_enter,1000000,100.00,,`. `None` where it counted nothing because no process ran
/// meanwhile.
fn parse(said: &str) -> Result<Option<f64>> {
    let line = said.lines().find(|line| line.contains(EVENT));
    let Some((count, _)) = line.and_then(|line| line.split_once(',')) else { bail!("perf said {said:?}") };
    if count == NOT_COUNTED {
        return Ok(None);
    }
    count.parse().map(Some).with_context(|| format!("perf said {said:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_perf_says() {
        assert_eq!(parse("12345,,raw_syscalls:sys_enter,1000000,100.00,,\n").unwrap(), Some(12_345.0));
        assert_eq!(parse("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n").unwrap(), None);
        assert!(parse("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n").is_err());
        assert!(parse("Error: no permission\n").is_err());
    }
}
