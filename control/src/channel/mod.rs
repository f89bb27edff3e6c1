//! gRPC channels to control planes: over a unix socket, TCP or TLS, as the environment says.
//!
//! A control plane that is not there, or not the one it should be, is named with what to do about it; whoever opens
//! the channel tries again.

mod connector;
mod error;
mod headers;
mod paced;
#[cfg(test)]
mod tests;
mod tls;

use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint as Transport};

use crate::environment::{ChannelSettings, Endpoint};
use connector::Connector;
pub(crate) use error::{ConnectError, explain};
pub(crate) use headers::CallHeaders;
pub use headers::HeaderError;

/// How long resolving, connecting and the TLS handshake may take together (contract 2.6).
const CONNECT_SECONDS_MAX: u64 = 5;

/// How often a ping is sent while a call is under way and nothing else is sent (contract 2.1).
const PING_SECONDS: u64 = 30;

/// Without an answer to a ping for so long the connection is dead (contract 2.1).
const PONG_SECONDS_MAX: u64 = 10;

/// The largest message that is read (contract 2.3): one response names all workloads of the cluster.
pub(crate) const MESSAGE_BYTES_MAX: usize = 200 << 20;

/// A channel whose calls carry the headers that the control plane asks for.
pub(crate) type Called = InterceptedService<Channel, CallHeaders>;

/// Opens channels to one control plane.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    settings: ChannelSettings,
    headers: CallHeaders,
}

impl Dialer {
    /// An error names a header that cannot be sent.
    pub(crate) fn new(settings: ChannelSettings, cluster_id: &str) -> Result<Self, HeaderError> {
        let headers = CallHeaders::new(&settings, cluster_id)?;
        Ok(Self { settings, headers })
    }

    /// Where the control plane is, for people.
    pub(crate) fn address(&self) -> String {
        self.settings.endpoint.to_string()
    }

    /// Whether the server is verified with a root.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.settings.endpoint, Endpoint::Tls { .. })
    }

    /// A channel that stands. When its connection ends it is at its end: its calls fail.
    pub(crate) async fn connect(&self) -> Result<Called, ConnectError> {
        let connector = Connector::new(self.settings.clone());
        let channel = self.transport().connect_with_connector(connector).await;
        let channel = channel.map_err(|error| ConnectError::of(&error, &self.address()))?;
        Ok(InterceptedService::new(channel, self.headers.clone()))
    }

    /// A channel that connects when it is called, and again after its connection ended.
    pub(crate) fn lazy(&self) -> Called {
        let connector = Connector::new(self.settings.clone());
        let channel = self.transport().connect_with_connector_lazy(connector);
        InterceptedService::new(channel, self.headers.clone())
    }

    fn transport(&self) -> Transport {
        Transport::from(origin(&self.settings.endpoint))
            .http2_keep_alive_interval(Duration::from_secs(PING_SECONDS))
            .keep_alive_timeout(Duration::from_secs(PONG_SECONDS_MAX))
            // Servers in Go take pings without a call under way for an attack, and hang up.
            .keep_alive_while_idle(false)
    }
}

/// What the server is called in requests.
fn origin(endpoint: &Endpoint) -> Uri {
    let named = match endpoint {
        Endpoint::Unix(_) => None,
        Endpoint::Tls { .. } | Endpoint::Plain { .. } => endpoint.to_string().parse().ok(),
    };
    // A host that is no host of a URI does not resolve either: the connector tells.
    named.unwrap_or_else(|| Uri::from_static("http://localhost"))
}
