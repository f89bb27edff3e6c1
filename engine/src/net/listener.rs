//! The three listeners in a pod's namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
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
    let on = |wildcard: IpAddr| {
        listen_on(namespace, SocketAddr::new(wildcard, port.number()), config, transparent)
    };
    if !config.ipv6 {
        return on(Ipv4Addr::UNSPECIFIED.into());
    }
    match on(Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if lacks_ipv6(&error) => on(Ipv4Addr::UNSPECIFIED.into()),
        listening => listening,
    }
}

fn listen_on(
    namespace: &Namespace,
    wildcard: SocketAddr,
    config: &EngineConfig,
    transparent: bool,
) -> io::Result<OwnedFd> {
    let options = SocketOptions { mark: config.packet_mark, keepalive: None };
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = namespace.enter(|| Socket::new(Domain::for_address(wildcard), kind, Some(Protocol::TCP)))?;
    if wildcard.is_ipv6() {
        socket.set_only_v6(false)?;
    }
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

/// The kernel was started without IPv6, or this namespace has it switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    let lacks = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| lacks.contains(&Errno::from_raw(code)))
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
