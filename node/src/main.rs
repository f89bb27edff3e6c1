//! `ringway`: mutual TLS for pods, without touching the applications.
#![forbid(unsafe_code)]

mod ask;
mod cli;
mod preflight;
mod proxy;
mod redirect;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let done = match cli.command.unwrap_or_default() {
        Command::Proxy { .. } => proxy::run(),
        Command::Check => preflight::run(),
        Command::Redirect { action } => redirect::run(&action),
        Command::Status { asked } => ask::status(&asked),
        Command::Explain { source, destination, asked } => ask::explain(&asked, &source, &destination),
        Command::Flows { follow, asked } => ask::flows(&asked, follow),
        Command::Version => {
            println!("ringway {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("ringway: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints help, or what is wrong with the arguments; the latter ends with 1, as ztunnel's does.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody reads what we print any more: the exit code is all that is left to say.
    let _ = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
