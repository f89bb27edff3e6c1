//! ringway-perf: measures ringway beside its peers.
//!
//! `run` puts each target between two pods, drives the workloads through it round by round, and prints what came out.
//! See docs/perf/README.md for the method.

mod agent;
mod copy;
mod gate;
mod limits;
mod list;
mod machine;
mod measure;
mod pages;
mod peer;
mod pods;
mod protocol;
mod push;
mod record;
mod report;
mod run;
mod site;
mod target;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::machine::Machine;

/// Measures ringway beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures every workload through every target, and prints a page of tables (needs root).
    Run(Box<run::RunArguments>),
    /// The targets, workloads and figures there are, and what of them this machine lacks.
    List,
    /// The pages of a run again, from the JSON that it wrote.
    Page(pages::PageArguments),
    /// Two runs beside each other, from the JSON that they wrote.
    Compare(pages::CompareArguments),
    /// Whether this build is slower than another: exits with 1 on a loss that is sure and matters, with 2 when it could not
    /// tell (needs root).
    Gate(Box<gate::GateArguments>),
    /// What a push of 70,000 workloads by an xDS server costs a running ping-pong (needs root).
    Push(push::PushArguments),
    /// Measures how long a new pod waits for its proxy while other pods are busy (needs root).
    Pods(PodsArguments),
    /// A load generator, led over its standard input.
    #[command(hide = true)]
    Peer,
    /// A proxy that only copies, plain or sealed.
    #[command(hide = true)]
    Copy(copy::CopyArguments),
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
        Command::Run(arguments) => limits::raise_open_files().and_then(|()| run::run(&arguments)),
        Command::List => {
            list::print();
            Ok(())
        }
        Command::Page(arguments) => pages::page(&arguments),
        Command::Compare(arguments) => pages::compare(&arguments),
        Command::Gate(arguments) => return gate(&arguments),
        Command::Push(arguments) => push::run(&arguments),
        Command::Pods(arguments) => pods(arguments),
        Command::Peer => peer::serve(),
        Command::Copy(arguments) => copy::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway-perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn gate(arguments: &gate::GateArguments) -> ExitCode {
    match limits::raise_open_files().and_then(|()| gate::run(arguments)) {
        Ok(gate::Outcome::Passed) => ExitCode::SUCCESS,
        Ok(gate::Outcome::Lost) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringway-perf: {error:#}");
            ExitCode::from(2)
        }
    }
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
