//! Connections that come: through a tunnel that is there, through one that has to be made for each, and all at once.

use anyhow::{Result, ensure};

use super::ends::{Ends, operations, play};
use super::{Outcome, Stage, Volume, Workload};
use crate::measure::Window;
use crate::protocol::{Errand, Load, MESSAGE_BYTES, Tally};

/// Who connects at once.
const WORKERS: usize = 8;

/// Cold connections for each second of the run's window, and at most: addresses that nobody dialled are not endless.
const COLD_PER_SECOND: f64 = 200.0;
const COLD_MAX: usize = 2_000;

/// The pace at which the first byte is waited for: none waits for the one before it.
const FIRST_BYTES_PER_S: u32 = 40;
const FIRST_BYTES_MAX: usize = 1_200;

/// Of a storm: what a large pod that was restarted meets.
const STORM_CONNECTIONS: usize = 1_000;

pub(super) const WARM: &[Workload] = &[Workload::of_a_pair(
    "connect-warm",
    "New connections between pods that have talked before.",
    "8 workers: connect, 64 B each way, close",
    warm,
)];

pub(super) const COLD: &[Workload] = &[
    Workload::of_a_pair(
        "connect-cold",
        "New connections, each to an address that nobody has dialled before: a new tunnel each.",
        "8 workers: connect, 64 B each way, close; 200 for each second of the window, 2,000 at most",
        cold,
    ),
    Workload::of_a_pair(
        "first-byte",
        "How long the first byte takes on a connection to an address that nobody has dialled before.",
        "40 connections/s: connect, 64 B each way, close",
        first_byte,
    ),
    Workload::of_a_pair(
        "storm",
        "1,000 connections at once, until all were answered.",
        "connect all, 64 B each way on each; latencies count from the first connect",
        storm,
    ),
];

fn warm(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let tally = play(stage, window, &[(0, Load::Connect { workers: WORKERS })])?;
    ensure!(tally.exchanges > 0, "no connection was answered");
    Ok(operations(&tally, MESSAGE_BYTES).with_latency(tally.latency))
}

fn cold(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let count = (stage.seconds * COLD_PER_SECOND).clamp(1.0, COLD_MAX as f64) as usize;
    let servers = stage.site.fresh_ips(count)?;
    let tally = run(stage, window, Errand::ConnectEach { servers, workers: WORKERS })?;
    Ok(operations(&tally, MESSAGE_BYTES).with_latency(tally.latency))
}

fn first_byte(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let count = (stage.seconds * f64::from(FIRST_BYTES_PER_S)).clamp(1.0, FIRST_BYTES_MAX as f64) as usize;
    let servers = stage.site.fresh_ips(count)?;
    let tally = run(stage, window, Errand::FirstBytes { servers, per_s: FIRST_BYTES_PER_S })?;
    let mut outcome = operations(&tally, MESSAGE_BYTES).with_latency(tally.latency);
    // It is our own pace.
    outcome.figures.remove("rate_per_s");
    Ok(outcome)
}

fn storm(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let tally = run(stage, window, Errand::Storm { connections: STORM_CONNECTIONS })?;
    let mut outcome = operations(&tally, MESSAGE_BYTES).with_latency(tally.latency);
    outcome.figures.insert("failures", tally.failures as f64);
    if tally.exchanges == 0 {
        outcome.volume = Volume::Unclear;
    }
    Ok(outcome)
}

/// The window is as long as the errand takes.
fn run(stage: &Stage<'_>, window: &mut Window<'_>, errand: Errand) -> Result<Tally> {
    let mut ends = Ends::start(stage, window, 0)?;
    window.open()?;
    ends.begin()?;
    ends.run(errand)?;
    let tally = ends.end()?;
    window.close()?;
    Ok(tally)
}
