//! The rounds. In each, every target is started afresh on a pair of its own; then workload by workload all targets are
//! measured one after the other, so that what is compared lies seconds apart, and who comes first changes by round.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use testkit::process::Process;

use crate::agent::Agent;
use crate::cpu;
use crate::pair::Pair;
use crate::protocol::Request;
use crate::sample::{METRICS, Memory, Noise, Sample};
use crate::suite;
use crate::target::{Build, Target};
use crate::wire::Wire;
use crate::workload::Workload;

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// The measured window.
    pub(crate) seconds: f64,
    /// Before it, after each load that starts.
    pub(crate) warm_up_seconds: f64,
    pub(crate) workloads: Vec<Workload>,
}

/// A target as it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) build: Build,
    /// What its first tunnel negotiated; `None` for a target that does not encrypt.
    pub(crate) suite: Option<String>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) memory: Vec<Memory>,
}

/// A target that is up. Its processes end before the namespaces they are in.
struct Standing<'t> {
    target: &'t dyn Target,
    processes: Vec<Process>,
    pair: Pair,
}

/// Runs the whole plan. The first thing that fails ends it.
pub(crate) fn run(plan: &Plan, targets: &[Box<dyn Target>]) -> Result<Results> {
    let mut results = Results { subjects: Vec::new(), samples: Vec::new(), memory: Vec::new() };
    for round in 0..plan.rounds {
        let mut standing = Vec::new();
        for at in 0..targets.len() {
            let target = targets[(round + at) % targets.len()].as_ref();
            let (started, suite) = start(target).with_context(|| target.name())?;
            standing.push(started);
            if round == 0 {
                results.subjects.push(Subject { name: target.name(), build: target.build()?, suite });
            }
        }
        for &workload in &plan.workloads {
            for started in &mut standing {
                let name = started.target.name();
                let sample = measure(plan, round, started, workload);
                let sample = sample.with_context(|| format!("{} through {name}", workload.name()))?;
                progress(plan, &sample);
                results.samples.push(sample);
            }
        }
        for started in standing.iter().filter(|started| !started.processes.is_empty()) {
            results.memory.push(memory(round, started)?);
        }
    }
    Ok(results)
}

/// Puts a target on a fresh pair and opens its first tunnel; what that negotiated.
fn start(target: &dyn Target) -> Result<(Standing<'_>, Option<String>)> {
    let pair = Pair::new()?;
    let processes = target.start(&pair)?;
    let suite = if target.is_encrypted() { Some(suite::of_first_tunnel(&pair)?) } else { None };
    Wire::watch(&pair.client.netns)?;
    Ok((Standing { target, processes, pair }, suite))
}

fn measure(plan: &Plan, round: usize, standing: &mut Standing<'_>, workload: Workload) -> Result<Sample> {
    let pair = &standing.pair;
    let mut server = Agent::start(&pair.server.netns)?;
    let mut client = Agent::start(&pair.client.netns)?;
    server.tell(&Request::Listen)?;
    for load in workload.loads() {
        client.tell(&Request::Start { load, server: pair.server.ip })?;
        thread::sleep(Duration::from_secs_f64(plan.warm_up_seconds));
    }
    let wire_before = Wire::read(&pair.client.netns)?;
    server.tell(&Request::Begin)?;
    client.tell(&Request::Begin)?;
    let before = Clocks::read(&standing.processes, [&client, &server])?;
    thread::sleep(Duration::from_secs_f64(plan.seconds));
    let used = Clocks::read(&standing.processes, [&client, &server])?.since(&before);
    let (at_client, at_server) = (client.end()?, server.end()?);
    let wire = Wire::read(&pair.client.netns)?.since(wire_before);
    standing.processes.iter_mut().try_for_each(Process::expect_running)?;
    let sample = Sample {
        round,
        target: standing.target.name(),
        workload,
        seconds: at_client.seconds,
        received_bytes: at_client.received_bytes + at_server.received_bytes,
        exchanges: at_client.exchanges,
        latency: at_client.latency,
        proxy_cpu: used.proxies,
        wire,
        noise: used.noise(at_client.seconds),
    };
    expect_moved(&sample)?;
    if standing.target.is_encrypted() {
        wire.expect_encrypted(sample.received_bytes, sample.exchanges)?;
    }
    Ok(sample)
}

/// A load that stands still is broken, not slow.
fn expect_moved(sample: &Sample) -> Result<()> {
    ensure!(!sample.workload.has_bulk() || sample.received_bytes > 0, "the bulk stream stood still");
    ensure!(!sample.workload.has_exchanges() || sample.exchanges > 0, "no message came back");
    Ok(())
}

/// CPU seconds at one moment, or between two.
struct Clocks {
    /// Client's and server's; `None` without proxies.
    proxies: Option<[f64; 2]>,
    generators: f64,
    machine: f64,
    stolen: f64,
}

impl Clocks {
    fn read(proxies: &[Process], generators: [&Agent; 2]) -> Result<Self> {
        let machine = cpu::Machine::read()?;
        let proxies = match proxies {
            [] => None,
            [client, server] => Some([of_process(client)?, of_process(server)?]),
            more => anyhow::bail!("{} proxies for two pods", more.len()),
        };
        let [client, server] = generators;
        Ok(Self {
            proxies,
            generators: (client.cpu_time()? + server.cpu_time()?).as_secs_f64(),
            machine: machine.processes.as_secs_f64(),
            stolen: machine.stolen.as_secs_f64(),
        })
    }

    fn since(self, earlier: &Self) -> Self {
        let proxies = self.proxies.zip(earlier.proxies);
        Self {
            proxies: proxies.map(|(now, then)| [now[0] - then[0], now[1] - then[1]]),
            generators: self.generators - earlier.generators,
            machine: self.machine - earlier.machine,
            stolen: self.stolen - earlier.stolen,
        }
    }

    fn noise(&self, seconds: f64) -> Noise {
        let ours = self.generators + self.proxies.unwrap_or_default().iter().sum::<f64>();
        Noise {
            // A process is also charged for interrupts that came while it ran, which the machine counts apart.
            foreign_cores: ((self.machine - ours) / seconds).max(0.0),
            stolen_cores: self.stolen / seconds,
        }
    }
}

fn of_process(process: &Process) -> Result<f64> {
    Ok(cpu::of_process(process.pid())?.as_secs_f64())
}

fn memory(round: usize, standing: &Standing<'_>) -> Result<Memory> {
    let [client, server] = &standing.processes[..] else { anyhow::bail!("not one proxy in each pod") };
    let resident_kib = [client.resident_kib()?, server.resident_kib()?];
    Ok(Memory { round, target: standing.target.name(), resident_kib })
}

/// What is shown of a sample while the run goes on.
const HEADLINES: [&str; 6] =
    ["Gb/s", "exchanges /s", "p50 µs", "p50 µs by time", "CPU s/GB, both", "CPU µs/exchange, both"];

fn progress(plan: &Plan, sample: &Sample) {
    let shown = METRICS.iter().filter(|metric| HEADLINES.contains(&metric.name));
    let shown = shown.filter_map(|metric| Some(format!("{:.2} {}", metric.of(sample)?, metric.name)));
    let figures: Vec<String> = shown.collect();
    let (workload, target) = (sample.workload.name(), sample.target);
    eprintln!(
        "round {}/{}  {workload:<16}  {target:<8}  {}",
        sample.round + 1,
        plan.rounds,
        figures.join(", ")
    );
}
