//! Messages each way, again and again: in a closed loop for what the path can do and what that costs, and paced for how
//! long a message takes.
//!
//! The paces are far below what the slowest target does, and the same for all: one that is overloaded would tell how
//! long its queue was and not how long a message takes.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::ends::{Ends, operations, play, warm_up};
use super::{Outcome, Stage, Workload, always};
use crate::measure::Window;
use crate::protocol::Load;

/// A size of messages and a number of connections.
#[derive(Clone, Copy, Debug)]
struct Game {
    connections: usize,
    bytes: usize,
    /// Messages a second on all connections together, in the paced part.
    per_s: u32,
}

const fn workload(
    name: &'static str,
    title: &'static str,
    command: &'static str,
    drive: fn(&Stage<'_>, &mut Window<'_>) -> Result<Outcome>,
) -> Workload {
    Workload { name, title, command, pairs: 1, node_process: false, unavailable: always, drive }
}

pub(super) const WORKLOADS: &[Workload] = &[
    workload(
        "ping-pong-1-64",
        "64 bytes each way again and again on one connection.",
        "closed loop for half of the window, then 1,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 1, bytes: 64, per_s: 1_000 }),
    ),
    workload(
        "ping-pong-1-1k",
        "1 KiB each way again and again on one connection.",
        "closed loop for half of the window, then 1,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 1, bytes: 1 << 10, per_s: 1_000 }),
    ),
    workload(
        "ping-pong-1-16k",
        "16 KiB each way again and again on one connection.",
        "closed loop for half of the window, then 500 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 1, bytes: 16 << 10, per_s: 500 }),
    ),
    workload(
        "ping-pong-32-64",
        "64 bytes each way again and again on 32 connections.",
        "closed loop for half of the window, then 4,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 32, bytes: 64, per_s: 4_000 }),
    ),
    workload(
        "ping-pong-32-1k",
        "1 KiB each way again and again on 32 connections.",
        "closed loop for half of the window, then 4,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 32, bytes: 1 << 10, per_s: 4_000 }),
    ),
    workload(
        "ping-pong-32-16k",
        "16 KiB each way again and again on 32 connections.",
        "closed loop for half of the window, then 2,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 32, bytes: 16 << 10, per_s: 2_000 }),
    ),
    workload(
        "ping-pong-512-64",
        "64 bytes each way again and again on 512 connections.",
        "closed loop for half of the window, then 4,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 512, bytes: 64, per_s: 4_000 }),
    ),
    workload(
        "ping-pong-512-1k",
        "1 KiB each way again and again on 512 connections.",
        "closed loop for half of the window, then 4,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 512, bytes: 1 << 10, per_s: 4_000 }),
    ),
    workload(
        "ping-pong-512-16k",
        "16 KiB each way again and again on 512 connections.",
        "closed loop for half of the window, then 2,000 messages/s for its other half",
        |stage, window| drive(stage, window, Game { connections: 512, bytes: 16 << 10, per_s: 2_000 }),
    ),
];

fn drive(stage: &Stage<'_>, window: &mut Window<'_>, game: Game) -> Result<Outcome> {
    let Game { connections, bytes, per_s } = game;
    // Each half is a window of its own; CPU and switches are of the closed loop.
    let stage = &Stage { seconds: stage.seconds / 2.0, ..*stage };
    let closed = play(stage, window, &[(0, Load::PingPong { connections, bytes })])?;
    ensure!(closed.exchanges > 0, "no message came back");
    let mut ends = Ends::start(stage, window, 0)?;
    ends.load(Load::PacedPingPong { connections, bytes, per_s })?;
    warm_up(stage);
    ends.begin()?;
    thread::sleep(Duration::from_secs_f64(stage.seconds));
    let paced = ends.end()?;
    ensure!(paced.exchanges > 0, "no message came back while they were paced");
    Ok(operations(&closed, bytes).with_latency(paced.latency))
}
