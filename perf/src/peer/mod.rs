//! A load generator: the hidden subcommand `ringway-perf peer`, run inside a pod, led by the runner over its standard
//! input.

mod bulk;
mod connections;
mod echo;
mod idle;
mod meter;
mod ping_pong;
mod short;
mod storm;

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Backlog, listen};

use crate::protocol::{Errand, Load, MESSAGE_BYTES, Port, Reply, Request};
use echo::Life;
use meter::Meter;

/// How long a connection may take, far beyond what a loaded machine needs: a hang has to become an error.
const PATIENCE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections that wait to be accepted: a storm is not to be held up by its own server. The kernel takes no more than
/// net.core.somaxconn, which is this.
const BACKLOG_MAX: i32 = 4096;

/// Answers requests until the input ends, and ends with it whatever loads still run.
pub(crate) fn serve() -> Result<()> {
    let generator = Generator::default();
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.context("reading a request")?;
        let request = serde_json::from_str(&line).with_context(|| format!("a request {line:?}"))?;
        let reply = generator.answer(request).unwrap_or_else(|error| Reply::Failed(format!("{error:#}")));
        writeln!(output, "{}", serde_json::to_string(&reply)?)?;
        output.flush()?;
    }
    Ok(())
}

/// All loads of one process.
#[derive(Clone, Debug, Default)]
struct Generator {
    meter: Arc<Meter>,
}

impl Generator {
    fn answer(&self, request: Request) -> Result<Reply> {
        match request {
            Request::Listen => self.listen(Ipv4Addr::UNSPECIFIED)?,
            Request::Start { load, server } => self.start(load, server)?,
            Request::Begin => self.meter.begin(),
            Request::Run { errand, server } => self.run_errand(errand, server)?,
            Request::End => return self.meter.end().map(Reply::Tally),
        }
        Ok(Reply::Done)
    }

    fn listen(&self, at: Ipv4Addr) -> Result<()> {
        let sink = listener(at, Port::Sink)?;
        let counted = Arc::clone(&self.meter);
        thread::spawn(move || bulk::serve_sink(&sink, &counted));
        let source = listener(at, Port::Source)?;
        thread::spawn(move || bulk::serve_source(&source));
        for (port, life) in [(Port::Echo, Life::Long), (Port::Short, Life::Bytes(MESSAGE_BYTES))] {
            let listener = listener(at, port)?;
            self.run("the echo server", move |_| echo::serve(&listener, life));
        }
        Ok(())
    }

    fn start(&self, load: Load, server: Ipv4Addr) -> Result<()> {
        match load {
            Load::Bulk => {
                let stream = connect(server, Port::Sink)?;
                self.run("sending", move |_| bulk::send(&stream));
            }
            Load::BulkReverse => {
                let stream = connect(server, Port::Source)?;
                self.run("receiving", move |meter| bulk::receive(&stream, meter));
            }
            Load::StandingReaders { connections } => {
                let streams = connect_many(server, Port::Source, connections)?;
                // Data that nobody takes is what they are for, so only their end is an event.
                self.run("readers that stand", move |_| idle::hold(&streams, EpollFlags::empty()));
            }
            Load::SlowReaders { connections, bytes_per_s } => {
                for stream in connect_many(server, Port::Source, connections)? {
                    self.run("reading slowly", move |_| bulk::receive_slowly(&stream, bytes_per_s));
                }
            }
            Load::PingPong { connections, bytes } => {
                let streams = open(server, connections)?;
                self.run("ping-pong", move |meter| ping_pong::play(streams, bytes, meter));
            }
            Load::PacedPingPong { connections, bytes, per_s } => {
                let streams = open(server, connections)?;
                self.run("paced ping-pong", move |meter| ping_pong::pace(streams, bytes, per_s, meter));
            }
            Load::Connect { workers } => {
                let server = Port::Short.of(server);
                for _ in 0..workers {
                    let work = move |meter: &Meter| short::connect_again_and_again(server, meter);
                    self.run("short connections", work);
                }
            }
            Load::Idle { connections } => {
                let streams = open(server, connections)?;
                self.run("idle connections", move |_| idle::hold(&streams, EpollFlags::EPOLLIN));
            }
        }
        Ok(())
    }

    fn run_errand(&self, errand: Errand, server: Ipv4Addr) -> Result<()> {
        let meter = &self.meter;
        match errand {
            Errand::ConnectEach { servers, workers } => short::connect_each(servers, workers, meter),
            Errand::FirstBytes { servers, per_s } => short::first_bytes(servers, per_s, meter),
            Errand::Storm { connections } => storm::storm(Port::Short.of(server), connections, meter),
        }
        .context("connecting")
    }

    /// Runs `work` on a thread of its own; its error is told at the end of the window.
    fn run(&self, what: &'static str, work: impl FnOnce(&Meter) -> io::Result<()> + Send + 'static) {
        let meter = Arc::clone(&self.meter);
        thread::spawn(move || {
            if let Err(error) = work(&meter) {
                meter.fail(format!("{what}: {error}"));
            }
        });
    }
}

fn listener(at: Ipv4Addr, port: Port) -> Result<TcpListener> {
    let listener = TcpListener::bind(port.of(at));
    let listener = listener.with_context(|| format!("listening: {port:?}"))?;
    listen(&listener, Backlog::new(BACKLOG_MAX)?).with_context(|| format!("listening: {port:?}"))?;
    Ok(listener)
}

fn connect(server: Ipv4Addr, port: Port) -> Result<TcpStream> {
    connect_to(port.of(server)).with_context(|| format!("connecting to {server}: {port:?}"))
}

fn connect_many(server: Ipv4Addr, port: Port, count: usize) -> Result<Vec<TcpStream>> {
    (0..count).map(|_| connect(server, port)).collect()
}

/// Connections to the echo server on which nothing has to be set up any more.
fn open(server: Ipv4Addr, connections: usize) -> Result<Vec<TcpStream>> {
    let streams = idle::open(Port::Echo.of(server), connections);
    streams.with_context(|| format!("opening {connections} connections to {server}"))
}

fn connect_to(server: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server.into(), PATIENCE_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
