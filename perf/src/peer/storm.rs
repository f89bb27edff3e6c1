//! Very many connections that begin in the same moment, from one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::meter::Meter;
use crate::protocol::MESSAGE_BYTES;

/// Handled in one turn.
const EVENTS_MAX: usize = 64;

const FLAGS: SockFlag = SockFlag::SOCK_NONBLOCK.union(SockFlag::SOCK_CLOEXEC);

/// A connection that has no answer by then has failed: far beyond what any target that works needs.
const STORM_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that asks once and waits for the answer.
struct Caller {
    stream: TcpStream,
    has_asked: bool,
    unreturned: usize,
}

/// Returns when all were answered or failed.
pub(super) fn storm(server: SocketAddrV4, connections: usize, meter: &Meter) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let begin = Instant::now();
    let mut callers = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = socket(AddressFamily::Inet, SockType::Stream, FLAGS, None)?;
        let stream = TcpStream::from(stream);
        stream.set_nodelay(true)?;
        // One that does not even begin has failed as the others may.
        if !begins_to_connect(&stream, server) {
            meter.add_failure();
            continue;
        }
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, callers.len() as u64))?;
        callers.push(Some(Caller { stream, has_asked: false, unreturned: MESSAGE_BYTES }));
    }
    let mut left = callers.len();
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    while left > 0 && begin.elapsed() < STORM_TIMEOUT {
        let rest = STORM_TIMEOUT.saturating_sub(begin.elapsed());
        let timeout = EpollTimeout::try_from(rest).unwrap_or(EpollTimeout::MAX);
        let ready = epoll.wait(&mut events, timeout)?;
        for event in &events[..ready] {
            let at = event.data() as usize;
            let Some(caller) = &mut callers[at] else { continue };
            match caller.proceed(&epoll, at) {
                Ok(false) => continue,
                Ok(true) => meter.add_exchange(begin.elapsed()),
                Err(_) => meter.add_failure(),
            }
            callers[at] = None;
            left -= 1;
        }
    }
    (0..left).for_each(|_| meter.add_failure());
    Ok(())
}

fn begins_to_connect(stream: &TcpStream, server: SocketAddrV4) -> bool {
    matches!(connect(stream.as_raw_fd(), &SockaddrIn::from(server)), Ok(()) | Err(Errno::EINPROGRESS))
}

impl Caller {
    /// True when the answer is complete.
    fn proceed(&mut self, epoll: &Epoll, at: usize) -> io::Result<bool> {
        if !self.has_asked {
            // An empty socket takes a message this short whole; one that did not connect tells why.
            self.stream.write_all(&[0x5a; MESSAGE_BYTES])?;
            self.has_asked = true;
            epoll.modify(&self.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
            return Ok(false);
        }
        match self.stream.read(&mut [0; MESSAGE_BYTES][..self.unreturned]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.unreturned -= count;
                Ok(self.unreturned == 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
