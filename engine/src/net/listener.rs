//! The three listeners in a pod's namespace.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Namespace, Port, SocketOptions};
use crate::engine::{EngineConfig, OriginalSource};

/// Connections that wait for accept. The kernel cuts it to `net.core.somaxconn` of the namespace.
const BACKLOG_MAX: i32 = 4096;

/// Opens one listener on the wildcard address of the pod: one socket for both families, or IPv4 alone where the pod
/// has no IPv6.
pub(crate) fn listen(
    namespace: &Namespace,
    port: Port,
    config: &EngineConfig,
    transparent: bool,
) -> io::Result<OwnedFd> {
    let options = SocketOptions { mark: config.packet_mark, keepalive: None };
    let (socket, wildcard) = namespace.enter(|| wildcard_socket(port, config.ipv6))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(config.port_reuse)?;
    options.apply(&SockRef::from(&socket))?;
    if transparent {
        socket.set_ip_transparent_v4(true)?;
    }
    socket.bind(&wildcard.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(socket.into())
}

/// Whether the kernel lets us show the client's address to the application: by trying, since that needs a capability
/// in the namespace. An error only where the configuration requires it.
pub(crate) fn may_keep_source(namespace: &Namespace, config: &EngineConfig) -> io::Result<bool> {
    if config.original_source == OriginalSource::Never {
        return Ok(false);
    }
    let tried = namespace.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
        socket.set_ip_transparent_v4(true)
    });
    match tried {
        Ok(()) => Ok(true),
        Err(cause) if config.original_source == OriginalSource::Require => Err(cause),
        Err(_) => Ok(false),
    }
}

fn wildcard_socket(port: Port, ipv6: bool) -> io::Result<(Socket, SocketAddr)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    if ipv6 && let Ok(socket) = Socket::new(Domain::IPV6, kind, Some(Protocol::TCP)) {
        socket.set_only_v6(false)?;
        return Ok((socket, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port.number())));
    }
    let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::TCP))?;
    Ok((socket, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port.number())))
}
