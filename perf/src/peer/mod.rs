//! A load generator: the hidden subcommand `ringway-perf peer`, run inside a pod, led by the runner over its standard
//! input.

mod bulk;
mod echo;
mod meter;
mod ping_pong;
mod short;

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::protocol::{Load, Port, Reply, Request};
use meter::Meter;

/// How long a connection may take, far beyond what a loaded machine needs: a hang has to become an error.
const PATIENCE_TIMEOUT: Duration = Duration::from_secs(20);

/// Answers requests until the input ends, and ends with it whatever loads still run.
pub(crate) fn serve() -> Result<()> {
    let meter = Arc::new(Meter::default());
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.context("reading a request")?;
        let request = serde_json::from_str(&line).with_context(|| format!("a request {line:?}"))?;
        let reply = answer(request, &meter).unwrap_or_else(|error| Reply::Failed(format!("{error:#}")));
        writeln!(output, "{}", serde_json::to_string(&reply)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(request: Request, meter: &Arc<Meter>) -> Result<Reply> {
    match request {
        Request::Listen => listen(meter)?,
        Request::Start { load, server } => start(load, server, meter)?,
        Request::Begin => meter.begin(),
        Request::End => return meter.end().map(Reply::Tally),
    }
    Ok(Reply::Done)
}

fn listen(meter: &Arc<Meter>) -> Result<()> {
    let sink = listener(Port::Sink)?;
    let counted = Arc::clone(meter);
    thread::spawn(move || bulk::serve_sink(&sink, &counted));
    let source = listener(Port::Source)?;
    thread::spawn(move || bulk::serve_source(&source));
    let echo = listener(Port::Echo)?;
    run(meter, "the echo server", move |_| echo::serve(echo));
    let short = listener(Port::Short)?;
    short::serve(short)
}

fn start(load: Load, server: Ipv4Addr, meter: &Arc<Meter>) -> Result<()> {
    match load {
        Load::Bulk => {
            let stream = connect(server, Port::Sink)?;
            run(meter, "sending", move |_| bulk::send(&stream));
        }
        Load::BulkReverse => {
            let stream = connect(server, Port::Source)?;
            run(meter, "receiving", move |meter| bulk::receive(&stream, meter));
        }
        Load::PingPong { connections } => {
            let streams = (0..connections).map(|_| connect(server, Port::Echo)).collect::<Result<_>>()?;
            run(meter, "ping-pong", move |meter| ping_pong::play(streams, meter));
        }
        Load::Connect { workers } => {
            for _ in 0..workers {
                run(meter, "short connections", move |meter| {
                    short::connect_again_and_again(Port::Short.of(server), meter)
                });
            }
        }
    }
    Ok(())
}

/// Runs `work` on a thread of its own; its error is told at the end of the window.
fn run(meter: &Arc<Meter>, what: &'static str, work: impl FnOnce(&Meter) -> io::Result<()> + Send + 'static) {
    let meter = Arc::clone(meter);
    thread::spawn(move || {
        if let Err(error) = work(&meter) {
            meter.fail(format!("{what}: {error}"));
        }
    });
}

fn listener(port: Port) -> Result<TcpListener> {
    TcpListener::bind(port.of(Ipv4Addr::UNSPECIFIED)).with_context(|| format!("listening: {port:?}"))
}

fn connect(server: Ipv4Addr, port: Port) -> Result<TcpStream> {
    connect_to(port.of(server)).with_context(|| format!("connecting to {server}: {port:?}"))
}

fn connect_to(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every load between two meters of this process, as two generators would run it.
    #[test]
    fn every_load_moves_something_and_is_counted_on_the_right_end() {
        let (client, server) = (Arc::new(Meter::default()), Arc::new(Meter::default()));
        let ask = |request: Request, meter: &Arc<Meter>| answer(request, meter).unwrap();
        assert!(matches!(ask(Request::Listen, &server), Reply::Done));
        let loads =
            [Load::Bulk, Load::BulkReverse, Load::PingPong { connections: 3 }, Load::Connect { workers: 2 }];
        ask(Request::Begin, &client);
        ask(Request::Begin, &server);
        for load in loads {
            ask(Request::Start { load, server: Ipv4Addr::LOCALHOST }, &client);
        }
        while !server.has_counted(1, 0) || !client.has_counted(1, 1000) {
            thread::yield_now();
        }
        let Reply::Tally(at_client) = ask(Request::End, &client) else { panic!("no tally") };
        let Reply::Tally(at_server) = ask(Request::End, &server) else { panic!("no tally") };
        assert!(at_client.received_bytes > 0 && at_server.received_bytes > 0);
        assert!(at_client.exchanges >= 1000 && at_server.exchanges == 0);
        assert!(at_client.latency.unwrap().p50_us > 0.0 && at_server.latency.is_none());
    }

    #[test]
    fn a_load_without_a_server_is_an_error_at_the_start() {
        let meter = Arc::new(Meter::default());
        // TCP can't connect to the broadcast address, whatever the machine's routes are.
        let request = Request::Start { load: Load::Bulk, server: Ipv4Addr::BROADCAST };
        let error = answer(request, &meter).unwrap_err();
        assert!(format!("{error:#}").contains("255.255.255.255"), "{error:#}");
    }
}
