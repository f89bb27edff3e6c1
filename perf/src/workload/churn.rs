//! Pods that come and go: what a node's other pods notice of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::ends::{Ends, warm_up};
use super::sockets::Sockets;
use super::{Outcome, Stage, Workload, always};
use crate::interrupt::wait_until;
use crate::measure::Window;
use crate::protocol::{Load, MESSAGE_BYTES};
use crate::site::Pod;

/// Where a pod that is served can be reached by other nodes.
const HBONE_PORT: u16 = 15_008;

/// A pod that is not served by then never will be.
const SERVED_TIMEOUT: Duration = Duration::from_secs(30);

/// Of the messages meanwhile, far below what any proxy does.
const MESSAGES_PER_S: u32 = 500;

/// The pair whose server comes and goes; messages go in the first.
const PAIR: usize = 1;

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    name: "churn",
    title: "Messages on one connection while another pod of the node goes and comes again and again: how often, and the messages' latency.",
    command: "500 messages/s of 64 B; the list of pods rewritten without a pod, then with it",
    pairs: PAIR + 1,
    node_process: true,
    unavailable: always,
    drive,
}];

fn drive(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let (_, pod, _) = stage.pair(PAIR);
    let mut ends = Ends::start(stage, window, 0)?;
    ends.load(Load::PacedPingPong { connections: 1, bytes: MESSAGE_BYTES, per_s: MESSAGES_PER_S })?;
    warm_up(stage)?;
    window.open()?;
    ends.begin()?;
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < Duration::from_secs_f64(stage.seconds) {
        stage.site.list_pods(|listed| listed.name != pod.name)?;
        wait_until_served(pod, false)?;
        stage.site.list_pods(|_| true)?;
        wait_until_served(pod, true)?;
        times += 1;
    }
    let rate = f64::from(times) / begun.elapsed().as_secs_f64();
    let tally = ends.end()?;
    window.close()?;
    ensure!(tally.exchanges > 0, "no message came back");
    let mut outcome =
        Outcome { payload_bytes: tally.exchanges * 2 * MESSAGE_BYTES as u64, ..Outcome::default() };
    outcome.figures.insert("rate_per_s", rate);
    Ok(outcome.with_latency(tally.latency))
}

fn wait_until_served(pod: &Pod, is_served: bool) -> Result<()> {
    let what = format!("{} to be served: {is_served}", pod.name);
    wait_until(&what, SERVED_TIMEOUT, || {
        let is_there = Sockets::look(&pod.place())?.listens(HBONE_PORT);
        Ok((is_there == is_served).then_some(()))
    })
}
