//! The server of the ping-pong: one thread for all connections, so that what is measured is not its own scheduling.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::protocol::MESSAGE_BYTES;

/// Handled in one turn.
const EVENTS_MAX: usize = 64;

/// What events of the listener carry; those of a connection carry its index.
const LISTENER: u64 = u64::MAX;

/// Sends back what comes, on every connection.
pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                accept(&listener, &epoll, &mut streams)?;
                continue;
            }
            let slot = &mut streams[event.data() as usize];
            // A connection that ended or broke is closed, which also takes it out of the epoll.
            if slot.as_ref().is_some_and(|stream| echo(stream).is_err()) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, streams: &mut Vec<Option<TcpStream>>) -> io::Result<()> {
    let (stream, _) = match listener.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        accepted => accepted?,
    };
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, streams.len() as u64))?;
    streams.push(Some(stream));
    Ok(())
}

/// One message at most is under way, so a write never finds the socket full.
fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    match stream.read(&mut message) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => stream.write_all(&message[..count]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
