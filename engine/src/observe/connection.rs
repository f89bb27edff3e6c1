//! A connection as access log, metrics and flows describe it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::mesh::{Identity, Service, Verdict, Workload};

/// Tells a connection from every other that this process has had. A connection that one proxy carries from one pod of
/// its node to another is two connections: an outbound and an inbound one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    pub shard: u32,
    pub sequence: u64,
}

/// Which listener a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Outbound,
    Inbound,
}

/// Whether both ends have proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// It goes through a tunnel.
    MutualTls,
    Plain,
}

/// What went wrong, in the words of the metrics' label `response_flags` (contract 1.17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResponseFlag {
    #[default]
    None,
    /// A policy forbids it.
    Deny,
    /// The application, or the peer's proxy, could not be reached or would not have it.
    Connect,
    TlsFailure,
    /// The peer ended the tunnel before it said a word of HTTP/2.
    H2HandshakeFailure,
    /// Nothing answers on the peer's port 15008: most likely a network policy does not let us through.
    NetworkPolicy,
    /// There is no certificate to prove who we are.
    IdentityError,
    CertRevoked,
}

/// What is known of one connection. It does not change once the connection stands, but for the verdict.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub direction: Direction,
    pub source: SocketAddr,
    pub source_workload: Option<Arc<Workload>>,
    /// What the client has proved, or will prove for our own pod; none where nobody proves anything.
    pub source_identity: Option<Identity>,
    /// Where our connection, or the peer's to us, goes: the peer's port 15008 if it is a tunnel.
    pub destination: SocketAddr,
    /// What was asked for inside the tunnel: the application's address.
    pub hbone_destination: Option<SocketAddr>,
    pub destination_service: Option<Arc<Service>>,
    pub destination_workload: Option<Arc<Workload>>,
    pub destination_identity: Option<Identity>,
    pub security: Security,
    /// What the policies of this node say: for inbound connections only, and after a change of policies what they say
    /// then.
    pub verdict: Option<Verdict>,
}

// === impl Connection ===

impl Connection {
    /// One of which no more is known than the two ends.
    pub fn new(id: ConnectionId, direction: Direction, source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            id,
            direction,
            source,
            source_workload: None,
            source_identity: None,
            destination,
            hbone_destination: None,
            destination_service: None,
            destination_workload: None,
            destination_identity: None,
            security: Security::Plain,
            verdict: None,
        }
    }
}

// === impl ResponseFlag ===

impl ResponseFlag {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Deny => "DENY",
            Self::Connect => "CONNECT",
            Self::TlsFailure => "TLS_FAILURE",
            Self::H2HandshakeFailure => "H2_HANDSHAKE_FAILURE",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::IdentityError => "IDENTITY_ERROR",
            Self::CertRevoked => "CERT_REVOKED",
        }
    }
}

impl fmt::Display for ResponseFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ConnectionId ===

/// As it names the connection in a stream of flows: `0-17`.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.sequence)
    }
}
