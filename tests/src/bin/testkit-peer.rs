//! A server of the testkit as a process of its own, for nodes that are left up to play with.
//!
//! `testkit-peer PORT SERVICE`, with SERVICE one of echo, greeter, http, exchange, count.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use testkit::traffic::server::{Server, Service};

fn main() -> ExitCode {
    match serve(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testkit-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let port = arguments.next().context("which port?")?.parse().context("not a port")?;
    let service = match arguments.next().as_deref() {
        Some("echo") => Service::Echo,
        Some("greeter") => Service::Greeter,
        Some("http") => Service::Http,
        Some("exchange") => Service::Exchange,
        Some("count") => Service::Count,
        other => bail!("which service? echo, greeter, http, exchange or count, not {other:?}"),
    };
    let _server = Server::start_here(port, service)?;
    println!("listening on {port}");
    loop {
        std::thread::park();
    }
}
