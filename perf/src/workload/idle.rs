//! Connections that stand still: what the memory of one is.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::process::{Process, wait_until};

use super::ends::Ends;
use super::{Outcome, Stage, Volume, Workload, always};
use crate::measure::Window;
use crate::protocol::{Load, MESSAGE_BYTES};
use crate::target::Standing;

/// Enough that what a process has anyway is not seen.
const CONNECTIONS: usize = 10_000;

/// A target that uses less CPU than that in this time is at rest: one tick of the clock that says so, since a runtime
/// wakes up now and then.
const REST_CPU_MAX: Duration = Duration::from_millis(10);
const REST_INTERVAL: Duration = Duration::from_millis(200);
const REST_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    name: "idle",
    title: "10,000 connections that have carried a message each way and stand still.",
    command: "8 workers: connect, 64 B each way; memory of the proxies before and after",
    pairs: 1,
    node_process: false,

    unavailable: always,
    drive,
}];

/// The window is as long as it takes to open them.
fn drive(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let mut ends = Ends::start(stage, window, 0)?;
    // The tunnel is there and was used.
    ends.load(Load::Idle { connections: 1 })?;
    settle(stage.standing)?;
    let before = resident_bytes(stage.standing)?;
    window.open()?;
    ends.begin()?;
    ends.load(Load::Idle { connections: CONNECTIONS })?;
    let opened = ends.end()?;
    window.close()?;
    settle(stage.standing)?;
    let after = resident_bytes(stage.standing)?;
    // All still stand.
    ends.begin()?;
    ensure!(ends.end()?.exchanges == 0, "an idle connection said something");
    drop(ends);
    // What closing them takes is not to be counted for the next workload.
    settle(stage.standing)?;
    let mut outcome = Outcome {
        volume: Volume::Operations(CONNECTIONS as f64),
        payload_bytes: (CONNECTIONS * 2 * MESSAGE_BYTES) as u64,
        ..Outcome::default()
    };
    outcome.figures.insert("rate_per_s", CONNECTIONS as f64 / opened.seconds);
    if stage.standing.processes().next().is_some() {
        let grown = after.saturating_sub(before) as f64;
        outcome.figures.insert("bytes_per_connection", grown / CONNECTIONS as f64);
    }
    Ok(outcome)
}

/// Returns when the target has nothing to do any more.
fn settle(standing: &Standing) -> Result<()> {
    let cpu = || -> Result<Duration> { standing.processes().map(Process::cpu_time).sum() };
    let mut before = cpu()?;
    wait_until("the target to come to rest after many connections", REST_TIMEOUT, || {
        thread::sleep(REST_INTERVAL);
        let now = cpu()?;
        let used = now.saturating_sub(before);
        before = now;
        Ok((used <= REST_CPU_MAX).then_some(()))
    })
}

/// Of all processes of a target.
fn resident_bytes(standing: &Standing) -> Result<u64> {
    standing.processes().try_fold(0, |sum, process| Ok(sum + process.resident_kib()? * 1024))
}
