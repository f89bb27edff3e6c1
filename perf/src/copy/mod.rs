//! Two copies of bytes from one TCP connection into another, the least that a proxy in our place can do: `plain` is the
//! cost of being there at all, `sealed` the bare limit of one that encrypts.
//!
//! Both are wired as the proxies are. The clients' side takes what is redirected to port 15001, opens one connection to
//! port 15008 of the server's pod for each, and says in its first bytes where it was meant to go; the servers' side
//! connects there.

mod plain;
mod seal;
mod sealed;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// Where connections are redirected to in a client's pod.
pub(crate) const CAPTURE_PORT: u16 = 15001;
/// Where the servers' side listens: HBONE's port, so that one rule counts for all.
pub(crate) const TUNNEL_PORT: u16 = 15008;
/// Bytes of an address and a port, in network order.
const DESTINATION_LEN: usize = 6;

#[derive(Args, Debug)]
pub(crate) struct CopyArguments {
    kind: Kind,
    side: Side,
    /// Threads of the plain copy; the sealed one has two for each connection.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What is read at once, and sealed as one record.
    #[arg(long, default_value_t = 64)]
    buffer_kib: usize,
    /// The file with the secret that both sides of the sealed copy share.
    #[arg(long)]
    secret: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Plain,
    Sealed,
}

/// Which pod's proxy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn port(self) -> u16 {
        match self {
            Self::Client => CAPTURE_PORT,
            Self::Server => TUNNEL_PORT,
        }
    }

    /// All addresses of its pod.
    fn address(self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, self.port())
    }
}

/// Copies until it is killed.
pub(crate) fn run(arguments: &CopyArguments) -> Result<()> {
    allow_many_connections()?;
    let buffer_len = arguments.buffer_kib * 1024;
    ensure!(seal::PAYLOAD_LENS.contains(&buffer_len), "a buffer has 1 to 1024 KiB");
    match arguments.kind {
        Kind::Plain => plain::run(arguments.side, arguments.threads, buffer_len),
        Kind::Sealed => {
            let file = arguments.secret.as_ref().context("a sealed copy needs --secret")?;
            let secret = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            sealed::run(arguments.side, &seal::Secret::new(&secret)?, buffer_len)
        }
    }
}

/// Each connection takes two descriptors; the usual 1024 are few.
fn allow_many_connections() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")
}

/// Where a redirected connection was meant to go.
fn original_destination(socket: &impl AsFd) -> Result<SocketAddrV4> {
    let raw = getsockopt(socket, sockopt::OriginalDst).context("a connection that was not redirected")?;
    Ok(SocketAddrV4::new(Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr)), u16::from_be(raw.sin_port)))
}

/// The end of this socket is a reset, so that a stream that broke off does not look like one that ended.
fn reset_on_close(socket: &impl AsFd) {
    // A socket that does not take the option is gone already.
    let _ = setsockopt(socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}

fn destination_to_bytes(destination: SocketAddrV4) -> [u8; DESTINATION_LEN] {
    let ([a, b, c, d], [high, low]) = (destination.ip().octets(), destination.port().to_be_bytes());
    [a, b, c, d, high, low]
}

fn destination_from_bytes([a, b, c, d, high, low]: [u8; DESTINATION_LEN]) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection over loopback.
    pub(super) fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Waits for what comes next, which must be a reset.
    pub(super) fn expect_reset(mut stream: TcpStream) {
        let read = stream.read(&mut [0]);
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_destination_survives_its_six_bytes() {
        let destination: SocketAddrV4 = "10.77.0.2:5201".parse().unwrap();
        assert_eq!(destination_to_bytes(destination), [10, 77, 0, 2, 0x14, 0x51]);
        assert_eq!(destination_from_bytes(destination_to_bytes(destination)), destination);
    }
}
