//! Packets of a `SOCK_SEQPACKET` unix socket, with the descriptors that come along.
//!
//! Every descriptor that the kernel hands over is owned from that moment on, so whatever is wrong with a packet, its
//! descriptors are closed with it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recvmsg, socket_with,
};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Bytes of a packet, either way: agents and proxies read no more at once, and take the rest for lost.
pub(crate) const PACKET_BYTES_MAX: usize = 1024;

/// Descriptors that the kernel passes with one packet (`SCM_MAX_FD`): with room for all none goes astray.
const DESCRIPTORS_MAX: usize = 253;

/// One packet as it was received.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) message: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

#[derive(Debug, Error)]
pub(crate) enum PacketError {
    /// An empty packet looks the same.
    #[error("the connection was closed")]
    End,
    #[error("an empty packet came with {0} descriptors")]
    Empty(usize),
    #[error("a packet had more than {PACKET_BYTES_MAX} bytes")]
    Truncated,
    #[error("the kernel kept back a descriptor; raise the limit of open files (ulimit -n)")]
    DescriptorsLost,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A connected socket. tokio has none of this kind; to its reactor and to `send` it is like one for datagrams.
#[derive(Debug)]
pub(crate) struct Socket(UnixDatagram);

impl Socket {
    /// Connects. Connections of this kind stand at once or not at all.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::new(socket)
    }

    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(UnixDatagram::from_std(StdDatagram::from(socket))?))
    }

    /// The next packet; waits for it. Nothing is lost when the future is dropped.
    pub(crate) async fn receive(&self) -> Result<Packet, PacketError> {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let receive = || receive_now(&self.0, &mut bytes).map_err(io::Error::from);
        let (count, flags, descriptors) = self.0.async_io(Interest::READABLE, receive).await?;
        packet(&bytes[..count.min(PACKET_BYTES_MAX)], flags, descriptors)
    }

    /// Sends one packet of 1 to [`PACKET_BYTES_MAX`] bytes.
    pub(crate) async fn send(&self, message: &[u8]) -> io::Result<()> {
        debug_assert!((1..=PACKET_BYTES_MAX).contains(&message.len()));
        self.0.send(message).await.map(drop)
    }
}

fn receive_now(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> rustix::io::Result<(usize, ReturnFlags, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, received.flags, descriptors))
}

fn packet(message: &[u8], flags: ReturnFlags, descriptors: Vec<OwnedFd>) -> Result<Packet, PacketError> {
    if flags.contains(ReturnFlags::TRUNC) {
        return Err(PacketError::Truncated);
    }
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(PacketError::DescriptorsLost);
    }
    match (message.is_empty(), descriptors.len()) {
        (true, 0) => Err(PacketError::End),
        (true, count) => Err(PacketError::Empty(count)),
        (false, _) => Ok(Packet { message: message.to_owned(), descriptors }),
    }
}
