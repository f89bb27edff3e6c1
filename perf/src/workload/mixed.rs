//! A ping-pong beside a bulk stream: whether those who say little are heard beside those who say much.
//!
//! The ping-pong is a closed loop here: a pace that is kept beside the stream through every target would be too slow to
//! tell anything. What a message waits for that is sent at any moment is the median by time.

use anyhow::{Result, ensure};

use super::ends::{operations, play, throughput};
use super::{Outcome, Stage, Volume, Workload, always};
use crate::measure::Window;
use crate::protocol::{Load, MESSAGE_BYTES};

const PING_PONG: Load = Load::PingPong { connections: 1, bytes: MESSAGE_BYTES };

const fn workload(
    name: &'static str,
    title: &'static str,
    pairs: usize,
    drive: fn(&Stage<'_>, &mut Window<'_>) -> Result<Outcome>,
) -> Workload {
    Workload {
        name,
        title,
        command: "a closed loop of 64 B on one connection, one stream with writes of 128 KiB",
        pairs,
        node_process: false,
        unavailable: always,
        drive,
    }
}

pub(super) const WORKLOADS: &[Workload] = &[
    workload(
        "mixed-ping-first",
        "A ping-pong, then a stream beside it between the same pods.",
        1,
        |stage, window| drive(stage, window, &[(0, PING_PONG), (0, Load::Bulk)]),
    ),
    workload(
        "mixed-bulk-first",
        "A stream, then a ping-pong beside it between the same pods.",
        1,
        |stage, window| drive(stage, window, &[(0, Load::Bulk), (0, PING_PONG)]),
    ),
    workload(
        "mixed-others-ping-first",
        "A ping-pong, then a stream between two other pods of the same nodes.",
        2,
        |stage, window| drive(stage, window, &[(0, PING_PONG), (1, Load::Bulk)]),
    ),
    workload(
        "mixed-others-bulk-first",
        "A stream, then a ping-pong between two other pods of the same nodes.",
        2,
        |stage, window| drive(stage, window, &[(1, Load::Bulk), (0, PING_PONG)]),
    ),
];

fn drive(stage: &Stage<'_>, window: &mut Window<'_>, loads: &[(usize, Load)]) -> Result<Outcome> {
    let tally = play(stage, window, loads)?;
    // A load that stands still is broken, not slow.
    ensure!(tally.received_bytes > 0, "the stream stood still");
    ensure!(tally.exchanges > 0, "no message came back");
    let (messages, stream) = (operations(&tally, MESSAGE_BYTES), throughput(&tally));
    let payload_bytes = messages.payload_bytes + stream.payload_bytes;
    let mut outcome = messages.with_latency(tally.latency.clone());
    outcome.figures.extend(stream.figures);
    outcome.figures.extend(tally.latency.map(|latency| ("latency_p50_by_time_us", latency.p50_by_time_us)));
    Ok(Outcome { volume: Volume::Unclear, payload_bytes, ..outcome })
}
