//! What a push of the whole mesh costs those who are talking meanwhile.
//!
//! One ping-pong between two pods, first left alone, then while the xDS server names all workloads of a large cluster in
//! one response, as an agent does that was restarted. Both nodes are driven by the server and get the same push.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use testkit::lab::Node;
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::{of_large_cluster, pod};
use testkit::planes::xds_server::XdsServer;
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::traffic::connect;
use testkit::traffic::latency::{Latencies, ping_pong};
use testkit::traffic::server::{Server, Service};

use crate::machine::Machine;

const PORT: u16 = 8080;
const MESSAGE_BYTES: usize = 64;

/// How long a push may take to be in force.
const PUSH_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct PushArguments {
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = "target/release/ringway")]
    ringway: PathBuf,
    #[arg(long, default_value_t = 70_000)]
    workloads: usize,
    /// How long the ping-pong is left alone, and how long it runs beside a push.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Worker threads of each proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

/// One round: without a push, with one.
struct Round {
    alone: Latencies,
    beside: Latencies,
    /// From the word to the last proxy that knows all.
    took: Duration,
    /// Of all shards of both proxies, up to the end of the round.
    longest_turn_before: f64,
    longest_turn: f64,
    resident_kib: u64,
    peak_kib: u64,
}

pub(crate) fn run(arguments: &PushArguments) -> Result<()> {
    ensure!(testkit::run::is_root(), "network namespaces need root");
    let machine = Machine::describe()?;
    let Machine { date, kernel, cpu, cores, load_average, .. } = &machine;
    let mut report = format!("{date}, {cpu}, {cores} cores, {kernel}, load {load_average}\n\n{HEAD}");
    for number in 0..arguments.rounds {
        let round = Round::measure(arguments).with_context(|| format!("round {number}"))?;
        report += &round.row();
    }
    print!("{report}");
    Ok(())
}

const HEAD: &str = "| p50 alone, µs | p50 beside, µs | p99.9 alone, µs | p99.9 beside, µs | ratio | push, s | longest turn before, µs | longest turn, µs | RSS, MiB | peak, MiB |\n|---|---|---|---|---|---|---|---|---|---|\n";

impl Round {
    fn measure(arguments: &PushArguments) -> Result<Self> {
        let (lab, client, server) = two_pods()?;
        let plane = XdsServer::start()?;
        plane.upsert(vec![pod(&client), pod(&server)]);
        let proxy = ProxyOptions {
            ringway: Some(arguments.ringway.clone()),
            worker_threads: arguments.threads,
            ..ProxyOptions::default()
        };
        let proxy = plane.drives(proxy);
        let mut mesh = Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() })?;
        let _echo = Server::start(&server.netns, PORT, Service::Echo)?;
        let stream = connect(&client.netns, (server.ipv4, PORT))?;
        let nodes = mesh.lab.nodes().to_vec();
        let cluster = (0..arguments.workloads).map(|number| of_large_cluster(&server, number)).collect();

        let seconds = Duration::from_secs(arguments.seconds);
        ping_pong(&stream, MESSAGE_BYTES, Duration::from_secs(1))?;
        let alone = ping_pong(&stream, MESSAGE_BYTES, seconds)?;
        let longest_turn_before = longest_turn(&nodes)?;
        let (beside, took) = thread::scope(|scope| {
            let playing = scope.spawn(|| ping_pong(&stream, MESSAGE_BYTES, seconds));
            let begin = Instant::now();
            plane.upsert(cluster);
            plane.wait_heard()?;
            let took = begin.elapsed();
            let beside = playing.join().map_err(|_| anyhow::anyhow!("the ping-pong panicked"))??;
            anyhow::Ok((beside, took))
        })?;
        wait_until("the whole push to be in force", PUSH_TIMEOUT, || {
            let known = mesh.process(0).lines_with(&["the mesh has changed"]).len();
            Ok((known >= 2).then_some(()))
        })?;
        let longest_turn = longest_turn(&nodes)?;
        let (mut resident_kib, mut peak_kib) = (0, 0);
        for at in 0..nodes.len() {
            resident_kib = resident_kib.max(mesh.process(at).resident_kib()?);
            peak_kib = peak_kib.max(mesh.process(at).resident_peak_kib()?);
        }
        Ok(Self { alone, beside, took, longest_turn_before, longest_turn, resident_kib, peak_kib })
    }

    fn row(&self) -> String {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (alone, beside) = (self.alone.percentile(99.9), self.beside.percentile(99.9));
        let mut row = String::new();
        // Writing to a text does not fail.
        let _ = writeln!(
            row,
            "| {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
            micros(self.alone.median()),
            micros(self.beside.median()),
            micros(alone),
            micros(beside),
            micros(beside) / micros(alone),
            self.took.as_secs_f64(),
            self.longest_turn_before * 1e6,
            self.longest_turn * 1e6,
            self.resident_kib as f64 / 1024.0,
            self.peak_kib as f64 / 1024.0,
        );
        row
    }
}

/// Of all shards of the proxies of these nodes, since they started, in seconds.
fn longest_turn(nodes: &[Arc<Node>]) -> Result<f64> {
    let mut longest: f64 = 0.0;
    for node in nodes {
        let metrics = node.netns.run("curl --silent --fail http://127.0.0.1:15020/metrics")?;
        for line in metrics.lines().filter(|line| line.starts_with("ringway_shard_longest_turn_seconds{")) {
            let value = line.rsplit(' ').next().unwrap_or_default();
            longest = longest.max(value.parse().with_context(|| format!("the metric {line}"))?);
        }
    }
    Ok(longest)
}
