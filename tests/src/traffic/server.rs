//! A TCP server inside a pod that does one known thing to every connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::{PATIENCE_TIMEOUT, pattern, read, transfer};
use crate::netns::Netns;

/// Connections waiting to be accepted: bursts of thousands come at once.
const BACKLOG: i32 = 4096;

/// What a server does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sends back what it gets; ends its side when the client has ended its own.
    Echo,
    /// Speaks first: `hello <address of the client>\n`. Then [`Service::Echo`].
    Greeter,
    /// Answers one request with its length and the HTTP greeting curl wants, then closes.
    Http,
    /// Sends and receives a pattern of the asked length at once: see [`transfer::exchange`].
    Exchange,
    /// Reads until the client ends its side, only then answers with `<count> bytes\n` and ends too.
    Count,
    /// Sends `parting\n`, ends its side at once, then still reads: `<count>` is found in [`Server::received`].
    SpeakThenListen,
    /// Reads one byte, then resets the connection.
    Reset,
    /// Never reads.
    Stand,
}

#[derive(Debug, Default)]
struct State {
    stopping: AtomicBool,
    accepted: AtomicU64,
    received: AtomicU64,
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    ended_badly: Mutex<Vec<io::ErrorKind>>,
}

/// A running server; its connections end when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: Arc<TcpListener>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `port` of all addresses inside `netns`.
    pub fn start(netns: &Netns, port: u16, service: Service) -> Result<Self> {
        let listener =
            netns.enter(|| listen(port)).with_context(|| format!("port {port} of {}", netns.name()))?;
        Ok(Self::run(listener, service))
    }

    /// Listens on `port` of the namespace this thread is in.
    pub fn start_here(port: u16, service: Service) -> Result<Self> {
        Ok(Self::run(listen(port).with_context(|| format!("port {port}"))?, service))
    }

    fn run(listener: TcpListener, service: Service) -> Self {
        let listener = Arc::new(listener);
        let state = Arc::new(State::default());
        let (accepting, shared) = (Arc::clone(&listener), Arc::clone(&state));
        let thread = thread::spawn(move || accept(&accepting, service, &shared));
        Self { listener, state, thread: Some(thread) }
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Acquire)
    }

    /// Payload bytes it has read.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::Acquire)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        lock(&self.state.open).len()
    }

    /// The kinds of error that connections ended with: an RST is `ConnectionReset`.
    pub fn ended_badly(&self) -> Vec<io::ErrorKind> {
        lock(&self.state.ended_badly).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::Release);
        // Shutting a listening socket down wakes the thread that accepts.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        for stream in lock(&self.state.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Nothing here is left half done by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener on both families.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, service: Service, state: &Arc<State>) {
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            if state.stopping.load(Ordering::Acquire) {
                return;
            }
            continue;
        };
        let id = state.accepted.fetch_add(1, Ordering::AcqRel);
        let stream = Arc::new(stream);
        lock(&state.open).insert(id, Arc::clone(&stream));
        let state = Arc::clone(state);
        // Small stacks: there may be thousands of connections.
        let started = thread::Builder::new().stack_size(128 << 10).spawn(move || {
            let end = serve(service, &stream, peer, &state.received);
            if let Err(error) = end
                && !state.stopping.load(Ordering::Acquire)
            {
                lock(&state.ended_badly).push(error.kind());
            }
            lock(&state.open).remove(&id);
        });
        started.expect("invariant: the machine has room for a thread per test connection");
    }
}

fn serve(service: Service, stream: &TcpStream, peer: SocketAddr, received: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream;
    match service {
        Service::Echo => echo(stream, received),
        Service::Greeter => {
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            writer.write_all(format!("hello {peer}\n").as_bytes())?;
            echo(stream, received)
        }
        Service::Http => http(stream),
        Service::Exchange => transfer::serve_exchange(stream),
        Service::Count => {
            let count = drain(stream, received)?;
            writer.write_all(format!("{count} bytes\n").as_bytes())?;
            stream.shutdown(Shutdown::Write)
        }
        Service::SpeakThenListen => {
            writer.write_all(b"parting\n")?;
            stream.shutdown(Shutdown::Write)?;
            drain(stream, received).map(drop)
        }
        Service::Reset => {
            (&mut &*stream).read_exact(&mut [0])?;
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
        }
        Service::Stand => {
            // Only the far end of the test ends this wait: a peek sees the close, or the shutdown of ours.
            while stream.peek(&mut [0])? > 0 {
                thread::park_timeout(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}

fn echo(stream: &TcpStream, received: &AtomicU64) -> io::Result<()> {
    let mut writer = stream;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match read(stream, &mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            count => {
                received.fetch_add(count as u64, Ordering::AcqRel);
                writer.write_all(&buffer[..count])?;
            }
        }
    }
}

/// Reads to the end; how many bytes came.
fn drain(stream: &TcpStream, received: &AtomicU64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        match read(stream, &mut buffer)? {
            0 => return Ok(total),
            count => {
                total += count as u64;
                received.fetch_add(count as u64, Ordering::AcqRel);
            }
        }
    }
}

/// One request up to its blank line, one response with a body of pattern bytes.
fn http(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && request.len() < 16 << 10 {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let body = http_body();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.shutdown(Shutdown::Write)
}

/// What [`Service::Http`] answers.
pub fn http_body() -> &'static [u8] {
    pattern::at(0, 64 << 10)
}
