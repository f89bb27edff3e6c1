//! The applications that talk through the mesh: servers with a known behaviour and clients that check it.
//!
//! A socket belongs to the namespace it was made in whoever uses it later, so only [`connect`] and
//! [`server::Server::start`] go inside a pod.

pub mod latency;
pub mod pattern;
pub mod server;
pub mod steady;
pub mod transfer;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// How long anything here waits for the other side before it fails: far beyond what a loaded machine needs.
pub const PATIENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects from inside `netns`; reads and writes of the stream fail after [`PATIENCE_TIMEOUT`].
pub fn connect(netns: &Netns, address: impl Into<SocketAddr>) -> Result<TcpStream> {
    let address = address.into();
    netns
        .enter(|| connect_here(address))
        .with_context(|| format!("connecting to {address} from {}", netns.name()))
}

/// The same on a thread that is inside already.
pub fn connect_here(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    stream.set_write_timeout(Some(PATIENCE_TIMEOUT))?;
    Ok(stream)
}

/// Reads once. A read with a timeout, unlike one without, is not taken up again by the kernel when the process was
/// stopped for a moment.
pub fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            end => return end,
        }
    }
}

/// Makes the close of `stream` an RST.
pub fn abort(stream: TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}
