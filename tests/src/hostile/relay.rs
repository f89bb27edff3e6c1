//! A door for clients that know no mutual TLS: plain bytes on one side, a tunnel's TLS on the other.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::impostor::Accepting;
use super::tls::{self, ClientStream};
use crate::authority::Leaf;
use crate::netns::Netns;

/// Listens inside a namespace and passes every connection on to `target` over TLS with `leaf`.
#[derive(Debug)]
pub struct MtlsRelay {
    _accepting: Accepting,
}

impl MtlsRelay {
    pub fn start(netns: &Netns, port: u16, target: SocketAddr, leaf: Leaf) -> Result<Self> {
        let accepting = Accepting::start(netns, port, move |plain, _| {
            // A target that refuses or ends is what is tested: the client sees the end of its connection.
            if let Ok(tls) = connect(target, &leaf) {
                let _ = pump(&plain, tls);
            }
            let _ = plain.shutdown(Shutdown::Both);
        })?;
        Ok(Self { _accepting: accepting })
    }

    /// Where clients inside the namespace find it.
    pub fn address() -> Ipv4Addr {
        Ipv4Addr::LOCALHOST
    }
}

fn connect(target: SocketAddr, leaf: &Leaf) -> Result<ClientStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    tls::connect(stream, Some(leaf))
}

/// Copies both ways until either side has ended. Each side is read only when there is something to read.
fn pump(mut plain: &TcpStream, mut tls: ClientStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        // What came with the end of the handshake is there without another byte on the wire.
        match tls.conn.reader().read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                plain.write_all(&buffer[..count])?;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let (from_plain, from_tls) = readable(plain, &tls.sock)?;
        if from_plain {
            match plain.read(&mut buffer)? {
                0 => {
                    tls.conn.send_close_notify();
                    return tls.flush();
                }
                count => tls.write_all(&buffer[..count]).and_then(|()| tls.flush())?,
            }
        }
        if from_tls {
            if tls.conn.read_tls(&mut tls.sock)? == 0 {
                return Ok(());
            }
            let processed = tls.conn.process_new_packets();
            while tls.conn.wants_write() {
                tls.conn.write_tls(&mut tls.sock)?;
            }
            processed.map_err(io::Error::other)?;
        }
    }
}

/// Waits until one of the two can be read; which.
fn readable(one: &TcpStream, other: &TcpStream) -> io::Result<(bool, bool)> {
    let mut fds = [one, other].map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE)?;
    let [one, other] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
    Ok((one, other))
}
