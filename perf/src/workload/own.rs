//! Workloads of our own load generator.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Stage, Volume, Workload, always};
use crate::agent::Agent;
use crate::measure::Window;
use crate::protocol::{Load, MESSAGE_BYTES, Request, Tally};
use crate::record::Point;

const ONE_PING_PONG: Load = Load::PingPong { connections: 1 };

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
        "bulk",
        "One stream from client to server.",
        "one TCP stream, writes of 128 KiB",
        |stage, window| play(stage, window, &[Load::Bulk]),
    ),
    workload(
        "bulk-reverse",
        "One stream from server to client.",
        "one TCP stream, writes of 128 KiB, server to client",
        |stage, window| play(stage, window, &[Load::BulkReverse]),
    ),
    workload(
        "ping-pong",
        "32 connections, 64 bytes each way again and again.",
        "32 connections, closed loop",
        |stage, window| play(stage, window, &[Load::PingPong { connections: 32 }]),
    ),
    workload(
        "mixed-ping-first",
        "One such connection, then one bulk stream beside it.",
        "1 connection of 64 B, then one TCP stream",
        |stage, window| play(stage, window, &[ONE_PING_PONG, Load::Bulk]),
    ),
    workload(
        "mixed-bulk-first",
        "One bulk stream, then one such connection beside it.",
        "one TCP stream, then 1 connection of 64 B",
        |stage, window| play(stage, window, &[Load::Bulk, ONE_PING_PONG]),
    ),
    workload(
        "connect",
        "Short connections: connect, 64 bytes each way, close, eight at once.",
        "8 workers, a connection a message",
        |stage, window| play(stage, window, &[Load::Connect { workers: 8 }]),
    ),
];

/// Runs `loads` in the first pair, one after the other has warmed up, all of them for the window.
fn play(stage: &Stage<'_>, window: &mut Window<'_>, loads: &[Load]) -> Result<Outcome> {
    let (client, server, dial) = stage.pair(0);
    let (mut server, mut client) = (Agent::start(&server.place())?, Agent::start(&client.place())?);
    window.generators([server.pid(), client.pid()]);
    server.tell(&Request::Listen)?;
    for &load in loads {
        client.tell(&Request::Start { load, server: dial })?;
        thread::sleep(Duration::from_secs_f64(stage.warm_up_seconds));
    }
    window.open()?;
    server.tell(&Request::Begin)?;
    client.tell(&Request::Begin)?;
    thread::sleep(Duration::from_secs_f64(stage.seconds));
    let (at_client, at_server) = (client.end()?, server.end()?);
    window.close()?;
    outcome(loads, &at_client, &at_server)
}

fn outcome(loads: &[Load], at_client: &Tally, at_server: &Tally) -> Result<Outcome> {
    let is_bulk = |load: &Load| matches!(load, Load::Bulk | Load::BulkReverse);
    let (has_bulk, has_exchanges) = (loads.iter().any(is_bulk), !loads.iter().all(is_bulk));
    let bytes = at_client.received_bytes + at_server.received_bytes;
    // A load that stands still is broken, not slow.
    ensure!(!has_bulk || bytes > 0, "the bulk stream stood still");
    ensure!(!has_exchanges || at_client.exchanges > 0, "no message came back");
    let seconds = at_client.seconds;
    let mut figures = BTreeMap::new();
    if has_bulk {
        figures.insert("throughput_gbps", bytes as f64 * 8.0 / 1e9 / seconds);
    }
    if has_exchanges {
        figures.insert("rate_per_s", at_client.exchanges as f64 / seconds);
    }
    let mut curve = Vec::new();
    if let Some(latency) = &at_client.latency {
        figures.insert("latency_p50_us", latency.p50_us);
        figures.insert("latency_p90_us", latency.p90_us);
        figures.insert("latency_p99_us", latency.p99_us);
        figures.insert("latency_p99_9_us", latency.p999_us);
        figures.insert("latency_max_us", latency.max_us);
        figures.insert("latency_p50_by_time_us", latency.p50_by_time_us);
        let point = |quantile, us| Point { quantile, us };
        curve.extend([
            point(0.5, latency.p50_us),
            point(0.9, latency.p90_us),
            point(0.99, latency.p99_us),
            point(0.999, latency.p999_us),
        ]);
    }
    let volume = match (has_bulk, has_exchanges) {
        (true, false) => Volume::Bytes(bytes as f64),
        (false, true) => Volume::Operations(at_client.exchanges as f64),
        _ => Volume::Unclear,
    };
    let payload_bytes = bytes + at_client.exchanges * 2 * MESSAGE_BYTES as u64;
    Ok(Outcome { volume, payload_bytes, figures, curve })
}
