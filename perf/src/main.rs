//! ringway-perf: measures ringway beside its peers.
//!
//! `run` puts each target between two pods, drives the workloads through it round by round, and prints what came out.
//! See docs/perf/README.md for the method.

mod agent;
mod cpu;
mod machine;
mod pair;
mod peer;
mod pods;
mod protocol;
mod push;
mod report;
mod runner;
mod sample;
mod suite;
mod summary;
mod target;
mod wire;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::machine::Machine;
use crate::report::Report;
use crate::runner::Plan;
use crate::target::{Choice, Peer};
use crate::workload::Workload;

/// Measures ringway beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures every workload through every target, and prints a page of tables (needs root).
    Run(RunArguments),
    /// What a push of 70,000 workloads by an xDS server costs a running ping-pong (needs root).
    Push(push::PushArguments),
    /// Measures how long a new pod waits for its proxy while other pods are busy (needs root).
    Pods(PodsArguments),
    /// A load generator, led over its standard input.
    #[command(hide = true)]
    Peer,
}

#[derive(Args, Debug)]
struct RunArguments {
    /// A binary to measure beside ringway: ztunnel=PATH, built in release with its feature `testing`.
    #[arg(long, value_name = "NAME=PATH")]
    peer: Vec<Peer>,
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = "target/release/ringway")]
    ringway: PathBuf,
    /// Which of direct, ztunnel, ringway, in the order of the report [default: all that there are].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,
    /// Which workloads [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workloads: Vec<Workload>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The measured window of each workload.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// What runs before it and does not count, after each load that starts.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Worker threads of each proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// The cores everything runs on, as 0,1 [default: all we may use].
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Where to write every sample and the summary.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct PodsArguments {
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = "target/release/ringway")]
    ringway: PathBuf,
    /// Pods that come and go, one after the other.
    #[arg(long, default_value_t = 500)]
    pods: usize,
    /// Bulk streams between two other pods meanwhile.
    #[arg(long, default_value_t = 8)]
    streams: u32,
    /// The pause before each pod.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 40)]
    pause: u64,
    /// Worker threads of the proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Push(arguments) => push::run(&arguments),
        Command::Pods(arguments) => pods(arguments),
        Command::Peer => peer::serve(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway-perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: RunArguments) -> Result<()> {
    ensure!(testkit::run::is_root(), "network namespaces need root");
    ensure!(arguments.rounds > 0 && arguments.seconds > 0.0, "nothing to measure");
    if !arguments.cores.is_empty() {
        cpu::restrict(&arguments.cores)?;
    }
    let machine = Machine::describe()?;
    let choice = Choice {
        ringway: arguments.ringway,
        peers: arguments.peer,
        worker_threads: arguments.threads,
        names: arguments.targets,
    };
    let targets = choice.targets()?;
    let plan = Plan {
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        warm_up_seconds: arguments.warm_up,
        workloads: if arguments.workloads.is_empty() { Workload::ALL.to_vec() } else { arguments.workloads },
    };
    let results = runner::run(&plan, &targets)?;
    let report = Report::new(machine, plan, results);
    print!("{}", report.markdown());
    if let Some(file) = arguments.json {
        fs::write(&file, report.json()?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn pods(arguments: PodsArguments) -> Result<()> {
    ensure!(testkit::run::is_root(), "network namespaces need root");
    ensure!(arguments.pods > 0, "nothing to measure");
    let plan = pods::Plan {
        ringway: arguments.ringway,
        pods: arguments.pods,
        streams: arguments.streams,
        pause: Duration::from_millis(arguments.pause),
        threads: arguments.threads,
    };
    let machine = Machine::describe()?;
    let results = pods::run(&plan)?;
    print!("{}", results.markdown(&machine, &plan));
    Ok(())
}
