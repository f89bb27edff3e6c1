//! A connection as it was accepted: who called, where they wanted to go, by which door they came.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{SockAddr, SockRef};

use super::SocketOptions;
use super::socket::{TUNNEL_NOTSENT_BYTES_MAX, abort_on_close};

/// The ports in a pod's namespace that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    /// 15001: what the pod's applications send out, redirected here.
    Outbound,
    /// 15006: what reaches the pod in plaintext, redirected here.
    Plain,
    /// 15008: tunnels of other nodes.
    Hbone,
}

/// One accepted connection, with its addresses.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: OwnedFd,
    pub(crate) port: Port,
    /// Who called.
    pub(crate) source: SocketAddr,
    /// Where they wanted to go before redirection; for a tunnel the pod's own address.
    pub(crate) destination: SocketAddr,
}

impl Port {
    pub(crate) const ALL: [Self; 3] = [Self::Outbound, Self::Plain, Self::Hbone];

    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Outbound => 15001,
            Self::Plain => 15006,
            Self::Hbone => 15008,
        }
    }

    /// A connection to one of our own ports would come back to us without end.
    pub(crate) fn is_ours(number: u16) -> bool {
        Self::ALL.iter().any(|port| port.number() == number)
    }
}

impl Accepted {
    /// Reads the addresses of an accepted socket and sets its options. A tunnel's socket gets no TCP keepalive: PING
    /// watches over it (contract 1.3).
    pub(crate) fn new(socket: OwnedFd, port: Port, options: &SocketOptions) -> io::Result<Self> {
        match ends(&SockRef::from(&socket), port, options) {
            Ok((source, destination)) => Ok(Self { socket, port, source, destination }),
            Err(error) => {
                // The caller shall see an error, and not an orderly end.
                abort_on_close(socket.as_fd());
                Err(error)
            }
        }
    }

    /// True where redirection was bypassed or the proxy called itself: relaying it would loop.
    pub(crate) fn is_loop(&self) -> bool {
        Port::is_ours(self.destination.port())
            && (self.port == Port::Plain || self.destination.ip().is_loopback() || self.is_undirected())
    }

    /// Nothing redirected this connection: its destination is the very listener that took it.
    fn is_undirected(&self) -> bool {
        let local = SockRef::from(&self.socket.as_fd()).local_addr().ok();
        local.and_then(|local| canonical(&local).ok()) == Some(self.destination)
    }
}

/// Source and destination of an accepted socket, whose options are set.
fn ends(handle: &SockRef<'_>, port: Port, options: &SocketOptions) -> io::Result<(SocketAddr, SocketAddr)> {
    let keepalive = options.keepalive.filter(|_| port != Port::Hbone);
    SocketOptions { mark: None, keepalive }.apply(handle)?;
    if port == Port::Hbone {
        handle.set_tcp_notsent_lowat(TUNNEL_NOTSENT_BYTES_MAX)?;
    }
    let source = canonical(&handle.peer_addr()?)?;
    let local = canonical(&handle.local_addr()?)?;
    let destination = match port {
        Port::Hbone => local,
        Port::Outbound | Port::Plain => original_destination(handle).unwrap_or(local),
    };
    Ok((source, destination))
}

/// SO_ORIGINAL_DST of the family the connection has; an IPv4 connection on a dual-stack socket answers to IPv4's.
fn original_destination(socket: &SockRef<'_>) -> Option<SocketAddr> {
    let found = socket.original_dst_v4().or_else(|_| socket.original_dst_v6()).ok()?;
    canonical(&found).ok()
}

/// IPv4 in IPv6 clothing becomes IPv4.
fn canonical(address: &SockAddr) -> io::Result<SocketAddr> {
    let address = address.as_socket().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the kernel gave an address that is not IP")
    })?;
    let ip: IpAddr = address.ip().to_canonical();
    Ok(SocketAddr::new(ip, address.port()))
}

/// The address a socket of ours has at its own end.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    canonical(&SockRef::from(&socket).local_addr()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_tunnel_lets_little_wait_in_the_kernel() {
        let options = SocketOptions { mark: None, keepalive: None };
        for (port, limited) in [(Port::Hbone, true), (Port::Outbound, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            let accepted = Accepted::new(socket.into(), port, &options).unwrap();
            let waits = SockRef::from(&accepted.socket).tcp_notsent_lowat().unwrap();
            assert_eq!(waits == TUNNEL_NOTSENT_BYTES_MAX, limited, "{waits}");
        }
    }
}
