//! ringway-perf: measures ringway beside its peers.
//!
//! `run` puts each target between two pods, drives the workloads through it round by round, and prints what came out.
//! See docs/perf/README.md for the method.

mod agent;
mod copy;
mod gate;
mod group;
mod interrupt;
mod limits;
mod list;
mod machine;
mod measure;
mod pages;
mod peer;
mod pods;
mod progress;
mod protocol;
mod push;
mod record;
mod report;
mod run;
mod site;
mod target;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Whether this build is slower than another; the exit status says it (needs root).
    Gate(Box<gate::GateArguments>),
    /// What a push of 70,000 workloads by an xDS server costs a running ping-pong (needs root).
    Push(push::PushArguments),
    /// Measures how long a new pod waits for its proxy while other pods are busy (needs root).
    Pods(pods::PodsArguments),
    /// A load generator, led over its standard input.
    #[command(hide = true)]
    Peer,
    /// A proxy that only copies, plain or sealed.
    #[command(hide = true)]
    Copy(copy::CopyArguments),
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
        Command::Gate(arguments) => return gate::status(&arguments),
        Command::Push(arguments) => push::run(&arguments),
        Command::Pods(arguments) => pods::run(&arguments),
        Command::Peer => peer::serve(),
        Command::Copy(arguments) => copy::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway-perf: {error:#}");
            if interrupt::is_asked() { interrupt::exit_code() } else { ExitCode::FAILURE }
        }
    }
}
