//! The project's own commands: `cargo xtask demo`, `test`, `perf`, `instructions`, `tidy`, `install-tools`.
#![forbid(unsafe_code)]

mod demo;
mod instructions;
mod perf;
mod progress;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands.")]
enum Command {
    /// Two nodes with pods on this machine, real traffic between them, and what was seen on the wire.
    Demo(demo::Options),
    /// All tests: every crate's, then whole systems in network namespaces (as root).
    Test(test::Options),
    /// Measures ringway beside its peers: builds it in release, then runs ringway-perf (as root).
    Perf(perf::Options),
    /// The house rules that neither rustfmt nor clippy knows.
    Tidy {
        /// Writes the table of limits in ARCHITECTURE.md first.
        #[arg(long)]
        fix: bool,
    },
    /// How many instructions each piece of the data plane takes, against what it took before (valgrind).
    Instructions(instructions::Options),
    /// Installs the system tools that demo, test and perf need (Debian and its kin, as root).
    InstallTools,
}

fn main() -> ExitCode {
    let command = Command::parse();
    // Of the gate 1 means a loss, so what failed before it is something else.
    let status = if matches!(command, Command::Perf(_)) { perf::EXIT_NOT_MEASURED } else { 1 };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(status)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Perf(options) => match perf::run(&options)? {},
        Command::Tidy { fix } => tidy::run(&workspace::root(), fix),
        Command::Instructions(options) => instructions::run(&options),
        Command::InstallTools => {
            tools::require(tools::SYSTEM, tools::Lack::Install)?;
            tools::require(tools::MEASURING, tools::Lack::Install)?;
            tools::require(tools::COUNTING, tools::Lack::Install)?;
            tools::offer(tools::Lack::Install);
            Ok(())
        }
    }
}
