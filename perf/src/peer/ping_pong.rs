//! The client of the ping-pong: one thread for all connections, one message under way on each.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::meter::Meter;
use crate::protocol::MESSAGE_BYTES;

/// Handled in one turn.
const EVENTS_MAX: usize = 64;

/// A connection and the message that is under way on it.
struct Player {
    stream: TcpStream,
    sent_at: Instant,
    returned: usize,
}

impl Player {
    fn send(&mut self) -> io::Result<()> {
        self.returned = 0;
        self.sent_at = Instant::now();
        self.stream.write_all(&[0x5a; MESSAGE_BYTES])
    }

    /// Takes what came back, and sends the next message when it was all.
    fn receive(&mut self, meter: &Meter) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        let count = match self.stream.read(&mut message[self.returned..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.returned += count;
        if self.returned == MESSAGE_BYTES {
            meter.add_exchange(self.sent_at.elapsed());
            self.send()?;
        }
        Ok(())
    }
}

/// Plays on all `streams` until one breaks.
pub(super) fn play(streams: Vec<TcpStream>, meter: &Meter) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut players = Vec::with_capacity(streams.len());
    for (at, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        players.push(Player { stream, sent_at: Instant::now(), returned: 0 });
    }
    for player in &mut players {
        player.send()?;
    }
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            players[event.data() as usize].receive(meter)?;
        }
    }
}
