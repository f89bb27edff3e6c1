//! The listening sockets of the endpoints.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use thiserror::Error;

/// Connections that wait to be accepted.
const HTTP_BACKLOG: i32 = 64;

/// What is served at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Admin,
    Stats,
    Readiness,
}

#[derive(Debug, Error)]
#[error("{endpoint} address {address}: {cause}; end what listens there, or {}", .endpoint.cure())]
pub struct BindError {
    endpoint: Endpoint,
    address: SocketAddr,
    cause: io::Error,
}

/// Opens the listening socket. With SO_REUSEPORT, since during a rolling update of a host-network DaemonSet the old
/// process still has the port, and the update would wait for ever.
pub(crate) fn listener(endpoint: Endpoint, address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let wildcard = address.is_ipv6() && address.ip().is_unspecified();
    open(address)
        .or_else(|error| match error.raw_os_error() {
            // A kernel without IPv6 has no [::] to listen on; the IPv4 wildcard is what was meant there.
            Some(code) if wildcard && code == Errno::EAFNOSUPPORT as i32 => {
                open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
            }
            _ => Err(error),
        })
        .map_err(|cause| BindError { endpoint, address, cause })
}

/// Whether a process listens there that lets others do so as well, as proxies do.
pub(crate) fn is_shared(address: SocketAddr) -> bool {
    bound(address, false).is_err_and(|errno| errno == Errno::EADDRINUSE) && bound(address, true).is_ok()
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let fd = bound(address, true)?;
    listen(&fd, Backlog::new(HTTP_BACKLOG)?)?;
    Ok(std::net::TcpListener::from(fd))
}

fn bound(address: SocketAddr, shared: bool) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &shared)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

// === impl Endpoint ===

impl Endpoint {
    /// How to take another address.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::Admin => "set proxyAdminPort in PROXY_CONFIG",
            Self::Stats => "set statsPort in PROXY_CONFIG",
            Self::Readiness => "set READINESS_BIND_ADDRESS",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Stats => "stats",
            Self::Readiness => "readiness",
        })
    }
}

// === impl BindError ===

impl BindError {
    /// A program has it that shares it with nobody.
    pub(crate) fn is_taken(&self) -> bool {
        self.cause.raw_os_error() == Some(Errno::EADDRINUSE as i32)
    }

    /// The machine has no such address, as `[::1]` where IPv6 is switched off.
    pub(crate) fn is_absent(&self) -> bool {
        let absent = [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT];
        self.cause.raw_os_error().is_some_and(|code| absent.iter().any(|absent| *absent as i32 == code))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An address that nobody else takes even while it is free: a part of loopback for each process, and a port that the
    /// kernel does not give away.
    fn own_address() -> SocketAddr {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        (Ipv4Addr::new(127, a, b, c), 16_021).into()
    }

    #[test]
    fn two_processes_may_listen_during_an_update() {
        let address = own_address();
        let first = listener(Endpoint::Readiness, address).unwrap();
        assert!(is_shared(address));
        assert!(listener(Endpoint::Readiness, address).is_ok());
        drop(first);
        assert!(!is_shared(address), "nobody is there any more");
    }

    #[test]
    fn a_port_that_another_program_has_is_named_with_what_to_do() {
        let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = busy.local_addr().unwrap();
        assert!(!is_shared(address), "it lets nobody in");
        for (endpoint, cure) in [
            (Endpoint::Admin, "proxyAdminPort"),
            (Endpoint::Stats, "statsPort"),
            (Endpoint::Readiness, "READINESS"),
        ] {
            let error = listener(endpoint, address).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{endpoint} address {address}: ")), "{text}");
            assert!(text.contains("end what listens there") && text.contains(cure), "{text}");
            assert!(error.is_taken() && !error.is_absent());
        }
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_told_apart() {
        let error = listener(Endpoint::Admin, "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(error.is_absent() && !error.is_taken(), "{error}");
    }
}
