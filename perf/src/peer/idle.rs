//! Very many connections that stand still.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{PATIENCE_TIMEOUT, connect_to};
use crate::protocol::MESSAGE_BYTES;

/// Who opens them at once.
const OPENERS: usize = 8;

/// Opens them; each has carried a message each way, so all that lies between its ends is there for sure.
pub(super) fn open(server: SocketAddrV4, connections: usize) -> io::Result<Vec<TcpStream>> {
    let share = |opener| connections / OPENERS + usize::from(opener < connections % OPENERS);
    let open = |count| (0..count).map(|_| open_one(server)).collect::<io::Result<Vec<_>>>();
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS).map(|opener| scope.spawn(move || open(share(opener)))).collect();
        let mut all = Vec::with_capacity(connections);
        for opener in openers {
            all.extend(opener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn open_one(server: SocketAddrV4) -> io::Result<TcpStream> {
    let mut stream = connect_to(server)?;
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    stream.write_all(&[0x5a; MESSAGE_BYTES])?;
    stream.read_exact(&mut [0; MESSAGE_BYTES])?;
    Ok(stream)
}

/// Keeps them open. It returns when one ends or, with [`EpollFlags::EPOLLIN`], when something comes.
pub(super) fn hold(streams: &[TcpStream], unwanted: EpollFlags) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for stream in streams {
        epoll.add(stream, EpollEvent::new(unwanted | EpollFlags::EPOLLRDHUP, 0))?;
    }
    epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE)?;
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "one was closed though nobody had finished with it"))
}
