//! Connections that stand still: what the memory of one is.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::process::Process;

use super::ends::Ends;
use super::{Outcome, Stage, Volume, Workload, always};
use crate::interrupt::wait_until;
use crate::limits;
use crate::measure::Window;
use crate::protocol::{Load, MESSAGE_BYTES};
use crate::target::Standing;

/// Enough that what a process has anyway is not seen.
const CONNECTIONS_MAX: usize = 10_000;

/// Of a proxy that has a socket on either side of each connection.
const FILES_PER_CONNECTION: u64 = 2;

/// For what a process holds open besides: far more than any does.
const OTHER_FILES: u64 = 1_000;

/// A target that uses less CPU than that in this time is at rest: one tick of the clock that says so, since a runtime
/// wakes up now and then.
const REST_CPU_MAX: Duration = Duration::from_millis(10);
const REST_INTERVAL: Duration = Duration::from_millis(200);
const REST_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    name: "idle",
    title: "10,000 connections that have carried a message each way and stand still; fewer where a process may not open \
            21,000 files.",
    command: "8 workers: connect, 64 B each way; memory of the proxies before and after",
    pairs: 1,
    node_process: false,
    unavailable: always,
    drive,
}];

/// The window is as long as it takes to open them.
fn drive(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let connections = connections(limits::open_files()?);
    let mut ends = Ends::start(stage, window, 0)?;
    // The tunnel is there and was used.
    ends.load(Load::Idle { connections: 1 })?;
    settle(stage.standing)?;
    let before = resident_bytes(stage.standing)?;
    window.open()?;
    ends.begin()?;
    ends.load(Load::Idle { connections })?;
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
        volume: Volume::Operations(connections as f64),
        payload_bytes: (connections * 2 * MESSAGE_BYTES) as u64,
        ..Outcome::default()
    };
    outcome.figures.insert("rate_per_s", connections as f64 / opened.seconds);
    if stage.standing.processes().next().is_some() {
        let grown = after.saturating_sub(before) as f64;
        outcome.figures.insert("bytes_per_connection", grown / connections as f64);
    }
    Ok(outcome)
}

/// How many there can be when a process may hold so many files open. It is the same for all targets, so that what they
/// have anyway weighs the same.
fn connections(open_files: u64) -> usize {
    let allowed = open_files.saturating_sub(OTHER_FILES) / FILES_PER_CONNECTION;
    CONNECTIONS_MAX.min(allowed.max(1) as usize)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_files_may_be_open_for_them() {
        for (open_files, expected) in
            [(65_536, 10_000), (21_000, 10_000), (20_000, 9_500), (1_024, 12), (10, 1)]
        {
            assert_eq!(connections(open_files), expected, "{open_files}");
        }
    }
}
