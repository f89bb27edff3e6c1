//! What answers on 15008 in a pod that is none of ours: a server with a certificate of the test's choice, and a wire
//! that delays.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use super::{frames, tls};
use crate::authority::Leaf;
use crate::netns::Netns;
use crate::traffic::server::listen;
use crate::wire::HBONE_PORT;

/// A listener and the thread that accepts on it, both ended on drop.
#[derive(Debug)]
pub(super) struct Accepting {
    listener: Arc<std::net::TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Accepting {
    /// `serve` runs inside `netns` on a thread of its own for every connection.
    pub(super) fn start(
        netns: &Netns,
        port: u16,
        serve: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = Arc::new(netns.enter(|| listen(port))?);
        let stopping = Arc::new(AtomicBool::new(false));
        let (accepting, stop, serve) = (Arc::clone(&listener), Arc::clone(&stopping), Arc::new(serve));
        let thread = netns.spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let Ok((stream, peer)) = accepting.accept() else { continue };
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream, peer));
            }
        });
        Ok(Self { listener, stopping, thread: Some(thread) })
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An HBONE server that shows `leaf` and counts what clients send it afterwards.
#[derive(Debug)]
pub struct Impostor {
    _accepting: Accepting,
    connections: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Impostor {
    pub fn start(netns: &Netns, leaf: Leaf) -> Result<Self> {
        let connections = Arc::new(AtomicU64::new(0));
        let requests = Arc::new(AtomicU64::new(0));
        let (connected, requested) = (Arc::clone(&connections), Arc::clone(&requests));
        let accepting = Accepting::start(netns, HBONE_PORT, move |stream, _| {
            connected.fetch_add(1, Ordering::AcqRel);
            if let Ok(mut tls) = tls::accept(stream, &leaf) {
                count_requests(&mut tls, &requested);
            }
        })?;
        Ok(Self { _accepting: accepting, connections, requests })
    }

    /// How many clients connected.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// How many requests it was sent: a client that checks the certificate sends none.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }
}

fn count_requests(tls: &mut tls::ServerStream, requests: &AtomicU64) {
    let greeting = frames::frame(frames::SETTINGS, 0, 0, &[]);
    let mut preface = [0; frames::PREFACE.len()];
    if tls.write_all(&greeting).and_then(|()| tls.read_exact(&mut preface)).is_err() {
        return;
    }
    while let Ok(Some(frame)) = frames::read(tls) {
        if frame.kind == frames::HEADERS {
            requests.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A wire to a pod's own 15008 that is slow to begin: what the pod's rules send to `port` waits before it goes on to
/// where it was going.
#[derive(Debug)]
pub struct SlowWire {
    _accepting: Accepting,
    passed: Arc<AtomicU64>,
}

impl SlowWire {
    pub fn start(netns: &Netns, port: u16, delay: Duration) -> Result<Self> {
        let passed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&passed);
        let accepting = Accepting::start(netns, port, move |stream, _| {
            count.fetch_add(1, Ordering::AcqRel);
            let Ok(target) = original_destination(&stream) else { return };
            thread::sleep(delay);
            if let Ok(onward) = connect_marked(target) {
                relay(&stream, &onward);
            }
        })?;
        Ok(Self { _accepting: accepting, passed })
    }

    /// How many connections went through.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }
}

fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let address = nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::OriginalDst)?;
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok((ip, u16::from_be(address.sin_port)).into())
}

/// A connection with the proxies' mark, which redirection leaves alone.
fn connect_marked(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    socket.set_mark(0x539)?;
    socket.connect(&target.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Copies both ways until both ends have ended.
fn relay(one: &TcpStream, other: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(one, other));
        copy(other, one);
    });
}
