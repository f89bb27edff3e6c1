//! Messages each way, again and again: in a closed loop for what the path can do and what that costs, and paced for how
//! long a message takes.
//!
//! The paces are far below what the slowest target does, and the same for all: one that is overloaded would tell how
//! long its queue was and not how long a message takes.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::ends::{Ends, operations, play, warm_up};
use super::{Outcome, Stage, Workload};
use crate::interrupt;
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

/// A row of the table: the size and the number of connections as people say them, and the game in numbers.
macro_rules! row {
    ($name:literal, $size:literal on $place:literal, $rate:literal: $connections:literal, $bytes:expr, $per_s:literal) => {
        Workload::of_a_pair(
            $name,
            concat!($size, " each way again and again on ", $place, "."),
            concat!("closed loop for half of the window, then ", $rate, " messages/s for its other half"),
            |stage, window| {
                drive(stage, window, Game { connections: $connections, bytes: $bytes, per_s: $per_s })
            },
        )
    };
}

pub(super) const WORKLOADS: &[Workload] = &[
    row!("ping-pong-1-64", "64 bytes" on "one connection", "1,000": 1, 64, 1_000),
    row!("ping-pong-1-1k", "1 KiB" on "one connection", "1,000": 1, 1 << 10, 1_000),
    row!("ping-pong-1-16k", "16 KiB" on "one connection", "500": 1, 16 << 10, 500),
    row!("ping-pong-32-64", "64 bytes" on "32 connections", "4,000": 32, 64, 4_000),
    row!("ping-pong-32-1k", "1 KiB" on "32 connections", "4,000": 32, 1 << 10, 4_000),
    row!("ping-pong-32-16k", "16 KiB" on "32 connections", "2,000": 32, 16 << 10, 2_000),
    row!("ping-pong-512-64", "64 bytes" on "512 connections", "4,000": 512, 64, 4_000),
    row!("ping-pong-512-1k", "1 KiB" on "512 connections", "4,000": 512, 1 << 10, 4_000),
    row!("ping-pong-512-16k", "16 KiB" on "512 connections", "500": 512, 16 << 10, 500),
];

fn drive(stage: &Stage<'_>, window: &mut Window<'_>, game: Game) -> Result<Outcome> {
    let Game { connections, bytes, per_s } = game;
    // Each half is a window of its own; CPU and switches are of the closed loop.
    let stage = &Stage { seconds: stage.seconds / 2.0, ..*stage };
    let closed = play(stage, window, &[(0, Load::PingPong { connections, bytes })])?;
    ensure!(closed.exchanges > 0, "no message came back");
    let mut ends = Ends::start(stage, window, 0)?;
    ends.load(Load::PacedPingPong { connections, bytes, per_s })?;
    warm_up(stage)?;
    ends.begin()?;
    interrupt::sleep(Duration::from_secs_f64(stage.seconds))?;
    let paced = ends.end()?;
    ensure!(paced.exchanges > 0, "no message came back while they were paced");
    Ok(operations(&closed, bytes).with_latency(paced.latency))
}
