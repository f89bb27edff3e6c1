//! The server of the ping-pong and of short connections: one thread for all of them, so that what is measured is not its
//! own scheduling.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Handled in one turn.
const EVENTS_MAX: usize = 64;

/// Read at once: the longest message and some.
const CHUNK_BYTES: usize = 64 << 10;

/// What events of the listener carry; those of a connection carry its index.
const LISTENER: u64 = u64::MAX;

/// How long connections live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Until the client closes.
    Long,
    /// Until so many bytes came and went. The server closes first, so that no port of the client waits in TIME_WAIT: what
    /// is measured is the proxies and not how many ports a pod has.
    Bytes(usize),
}

/// A connection and what still has to be sent back on it.
struct Connection {
    stream: TcpStream,
    echoed: usize,
    unsent: Vec<u8>,
}

struct Server {
    epoll: Epoll,
    life: Life,
    /// A connection that ended leaves its place to a later one.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    chunk: Vec<u8>,
}

/// Sends back what comes, on every connection.
pub(super) fn serve(listener: &TcpListener, life: Life) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut server =
        Server { epoll, life, connections: Vec::new(), free: Vec::new(), chunk: vec![0; CHUNK_BYTES] };
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let ready = server.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                server.accept(listener)?;
            } else {
                server.proceed(event.data() as usize);
            }
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let (stream, _) = match listener.accept() {
            // It may have gone while it waited for us.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {
                return Ok(());
            }
            accepted => accepted?,
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let at = self.free.pop().unwrap_or(self.connections.len());
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        let connection = Some(Connection { stream, echoed: 0, unsent: Vec::new() });
        match self.connections.get_mut(at) {
            Some(place) => *place = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    fn proceed(&mut self, at: usize) {
        let Some(connection) = &mut self.connections[at] else { return };
        let lives = connection.echo(&mut self.chunk, &self.epoll, at);
        let lives = lives.is_ok_and(|()| self.life != Life::Bytes(connection.echoed));
        if !lives {
            // One that ended or broke is closed, which also takes it out of the epoll. A client that goes away is no
            // failure of the server.
            self.connections[at] = None;
            self.free.push(at);
        }
    }
}

impl Connection {
    fn echo(&mut self, chunk: &mut [u8], epoll: &Epoll, at: usize) -> io::Result<()> {
        if !self.unsent.is_empty() {
            return self.send_rest(epoll, at);
        }
        let count = match self.stream.read(chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        let sent = self.send(&chunk[..count])?;
        if sent < count {
            self.unsent.extend_from_slice(&chunk[sent..count]);
            epoll.modify(&self.stream, &mut EpollEvent::new(EpollFlags::EPOLLOUT, at as u64))?;
        }
        Ok(())
    }

    /// The client does not take its message: nothing more is read until it did.
    fn send_rest(&mut self, epoll: &Epoll, at: usize) -> io::Result<()> {
        let rest = std::mem::take(&mut self.unsent);
        let sent = self.send(&rest)?;
        self.unsent.extend_from_slice(&rest[sent..]);
        if self.unsent.is_empty() {
            epoll.modify(&self.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.echoed += sent;
        Ok(sent)
    }
}
