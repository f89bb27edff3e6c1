//! The sockets that ringway makes: towards other nodes, and towards the application.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::Namespace;
use crate::engine::Keepalive;

/// Unsent bytes that the kernel may hold for a tunnel before it stops asking for more. Below the tunnel's own budget,
/// so that a message waits behind a small chunk of a transfer, not behind a full socket buffer.
pub(super) const TUNNEL_NOTSENT_BYTES_MAX: u32 = 128 * 1024;

/// TCP_USER_TIMEOUT is a positive int of milliseconds: 24 days.
const USER_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// What every socket of ours carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    /// SO_MARK: the redirection rules let marked packets pass.
    pub(crate) mark: Option<u32>,
    pub(crate) keepalive: Option<Keepalive>,
}

impl SocketOptions {
    /// Sets mark, TCP_NODELAY and keepalive.
    pub(crate) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        socket.set_tcp_nodelay(true)?;
        if let Some(keepalive) = self.keepalive {
            // Without it a peer that is gone is found later: a connection that works is worth more.
            let _ = keep_alive(socket, keepalive);
        }
        Ok(())
    }
}

fn keep_alive(socket: &SockRef<'_>, keepalive: Keepalive) -> io::Result<()> {
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(keepalive.time)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.retries),
    )?;
    if keepalive.user_timeout {
        let unacknowledged = keepalive.time + keepalive.interval * keepalive.retries;
        socket.set_tcp_user_timeout(Some(unacknowledged.min(USER_TIMEOUT_MAX)))?;
    }
    Ok(())
}

/// A socket from the pod towards a peer node, or straight to a destination that is not in the mesh.
pub(crate) fn to_network(
    namespace: &Namespace,
    target: SocketAddr,
    options: &SocketOptions,
    tunnel: bool,
) -> io::Result<OwnedFd> {
    let socket = namespace.enter(|| stream_socket(target.ip()))?;
    options.apply(&SockRef::from(&socket))?;
    if tunnel {
        socket.set_tcp_notsent_lowat(TUNNEL_NOTSENT_BYTES_MAX)?;
    }
    Ok(socket.into())
}

/// A socket from the pod's namespace to its application. With `source` the application sees the client's address;
/// where the kernel refuses that, the connection is made all the same, as the contract wants it.
pub(crate) fn to_application(
    namespace: &Namespace,
    target: SocketAddr,
    source: Option<IpAddr>,
    options: &SocketOptions,
) -> io::Result<OwnedFd> {
    // A pod that calls itself would be given its own address twice: no need to bind.
    let source = source.filter(|source| *source != target.ip() && source.is_ipv4() == target.is_ipv4());
    let socket = namespace.enter(|| stream_socket(target.ip()))?;
    options.apply(&SockRef::from(&socket))?;
    if let Some(source) = source {
        let _ = take_source(&socket, source);
    }
    Ok(socket.into())
}

/// The next close of this socket sends RST. Only effective once no operation is outstanding on it.
pub(crate) fn abort_on_close(fd: BorrowedFd<'_>) {
    let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
}

/// A socket that shows an end was in truth reset. A socket tells of its RST once, and that may have been to a send; a
/// receive after that finds an end. Only for a socket that has not sent its own FIN: with both the kernel shows no peer
/// either.
pub(crate) fn was_reset(fd: BorrowedFd<'_>) -> bool {
    SockRef::from(&fd).peer_addr().is_err()
}

/// What one packet of a connection carries (TCP_MAXSEG: the MSS less the options of every packet). `None`: the kernel does
/// not say.
pub(crate) fn packet_bytes(fd: BorrowedFd<'_>) -> Option<u32> {
    SockRef::from(&fd).tcp_mss().ok()
}

/// Sends FIN. Straight, not through the ring, which would hand it to a worker thread (40 µs against 4).
pub(crate) fn shut_down_write(fd: BorrowedFd<'_>) {
    let _ = SockRef::from(&fd).shutdown(std::net::Shutdown::Write);
}

fn stream_socket(target: IpAddr) -> io::Result<Socket> {
    let domain = if target.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    Ok(socket)
}

fn take_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    match source {
        IpAddr::V4(_) => {
            socket.set_ip_transparent_v4(true)?;
            socket.set_freebind_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_ip_transparent_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    bind_address_no_port(socket)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, when the whole four-tuple is known. Without it the pod's own
/// `connect` fails once 28,000 connections of one source are open, and each bind takes longer than the last.
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and both pointer and length describe a live one.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn applied(keepalive: Keepalive) -> Socket {
        let socket = stream_socket([127, 0, 0, 1].into()).unwrap();
        let options = SocketOptions { mark: None, keepalive: Some(keepalive) };
        options.apply(&SockRef::from(&socket)).unwrap();
        socket
    }

    fn keepalive(time: Duration) -> Keepalive {
        Keepalive { time, interval: time, retries: 127, user_timeout: true }
    }

    #[test]
    fn keepalive_that_the_kernel_refuses_costs_no_connection() {
        for time in [Duration::from_millis(500), Duration::from_secs(32_768)] {
            applied(keepalive(time));
        }
    }

    #[test]
    fn the_longest_keepalive_is_taken_as_a_whole() {
        let time = Duration::from_secs(32_767);
        let socket = applied(keepalive(time));
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (time, time)
        );
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT_MAX));
    }
}
