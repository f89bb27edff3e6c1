//! Many connections of a client in one thread, at most one message under way on each.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// A connection and the message that is under way on it.
struct Connection {
    stream: TcpStream,
    unsent: usize,
    unreturned: usize,
    /// We also wait until it takes more.
    is_full: bool,
}

/// Connections to echo servers, each by its index.
pub(super) struct Connections {
    epoll: Epoll,
    all: Vec<Connection>,
    message: Vec<u8>,
    /// Where what comes back is read into: nobody looks at it.
    returned: Vec<u8>,
}

impl Connections {
    /// `epoll` tells of each connection with its index.
    pub(super) fn new(streams: Vec<TcpStream>, bytes: usize) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut all = Vec::with_capacity(streams.len());
        for (at, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
            all.push(Connection { stream, unsent: 0, unreturned: 0, is_full: false });
        }
        Ok(Self { epoll, all, message: vec![0x5a; bytes], returned: vec![0; bytes] })
    }

    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Sends a message where none is under way.
    pub(super) fn send(&mut self, at: usize) -> io::Result<()> {
        let connection = &mut self.all[at];
        connection.unsent = self.message.len();
        connection.unreturned = self.message.len();
        self.push(at)
    }

    /// After an event: goes on with sending and takes what came back. True when that was the last of the message.
    pub(super) fn proceed(&mut self, at: usize) -> io::Result<bool> {
        if self.all[at].unsent > 0 {
            self.push(at)?;
        }
        let connection = &mut self.all[at];
        // With no message under way there is nothing to read but the end of the connection.
        let room = connection.unreturned.max(1);
        match connection.stream.read(&mut self.returned[..room]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if connection.unreturned == 0 => {
                Err(io::Error::new(ErrorKind::InvalidData, "more came back than was sent"))
            }
            Ok(count) => {
                connection.unreturned -= count;
                Ok(connection.unreturned == 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn push(&mut self, at: usize) -> io::Result<()> {
        let connection = &mut self.all[at];
        let from = self.message.len() - connection.unsent;
        match connection.stream.write(&self.message[from..]) {
            Ok(count) => connection.unsent -= count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_full = connection.unsent > 0;
        if connection.is_full != is_full {
            connection.is_full = is_full;
            let more = if is_full { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | more, at as u64);
            self.epoll.modify(&connection.stream, &mut event)?;
        }
        Ok(())
    }
}
