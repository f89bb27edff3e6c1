//! Connections to a control plane: resolved anew, each address tried, the root read anew.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::codegen::http::Uri;
use tower::Service;

use super::error::ConnectError;
use super::paced::Paced;
use super::{CONNECT_SECONDS_MAX, tls};
use crate::aside::aside;
use crate::environment::{ChannelSettings, Endpoint};

/// When a silent TCP connection is probed (contract 2.6).
const KEEPALIVE_IDLE_SECONDS: u32 = 300;

/// The pause between probes.
const KEEPALIVE_INTERVAL_SECONDS: u32 = 75;

/// Probes that may go unanswered. Pings of HTTP/2 notice it earlier.
const KEEPALIVE_PROBES_MAX: u32 = 9;

/// Connects to where the settings say, whatever it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Connector(ChannelSettings);

/// A connection of whatever kind.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// As HTTP/2 takes it.
type Connected = TokioIo<Paced<Box<dyn Connection>>>;

type Connecting = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

// === impl Connector ===

impl Connector {
    pub(super) fn new(settings: ChannelSettings) -> Self {
        Self(settings)
    }
}

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let settings = self.0.clone();
        Box::pin(async move {
            let limit = Duration::from_secs(CONNECT_SECONDS_MAX);
            let connected = timeout(limit, connect(&settings)).await;
            let late = |_| ConnectError::Late { address: settings.endpoint.to_string() };
            Ok(TokioIo::new(Paced::new(connected.map_err(late)??)))
        })
    }
}

async fn connect(settings: &ChannelSettings) -> Result<Box<dyn Connection>, ConnectError> {
    match &settings.endpoint {
        Endpoint::Unix(path) => Ok(Box::new(unix(path).await?)),
        Endpoint::Plain { host, port } => Ok(Box::new(tcp(host, *port, &settings.endpoint).await?)),
        Endpoint::Tls { host, port } => {
            let config = tls::config(settings)?;
            let stream = tcp(host, *port, &settings.endpoint).await?;
            Ok(Box::new(tls::handshake(config, stream, host, settings).await?))
        }
    }
}

async fn unix(path: &Path) -> Result<UnixStream, ConnectError> {
    UnixStream::connect(path).await.map_err(|error| ConnectError::Socket {
        path: path.to_owned(),
        cause: error.to_string(),
        missing: error.kind() == io::ErrorKind::NotFound,
    })
}

/// Tries every address of the host, since a server may listen on one of them only (`localhost` is `::1` first). Each
/// gets an equal share of the time.
async fn tcp(host: &str, port: u16, endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    let addresses = resolve(host, port).await?;
    let Some(tries) = u32::try_from(addresses.len()).ok().filter(|tries| *tries > 0) else {
        return Err(ConnectError::Unresolved {
            host: host.to_owned(),
            cause: "it has no address".to_owned(),
        });
    };
    let share = Duration::from_secs(CONNECT_SECONDS_MAX) / tries;
    let mut causes = Vec::new();
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                keep_alive(&stream);
                return Ok(stream);
            }
            Ok(Err(error)) => causes.push(format!("{address}: {error}")),
            Err(_) => causes.push(format!("{address}: no answer")),
        }
    }
    Err(ConnectError::Unreachable { address: endpoint.to_string(), cause: causes.join("; ") })
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unresolved = |cause: String| ConnectError::Unresolved { host: host.to_owned(), cause };
    let name = host.to_owned();
    // The C library asks DNS and waits: up to half a minute at a server that does not answer.
    let found = aside("resolver", move || (name.as_str(), port).to_socket_addrs()).await;
    let found = found.map_err(|error| ConnectError::Aside { cause: error.to_string() })?;
    Ok(found.map_err(|error| unresolved(error.to_string()))?.collect())
}

/// A kernel that refuses these has pings of HTTP/2 to go by.
fn keep_alive(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES_MAX);
}
