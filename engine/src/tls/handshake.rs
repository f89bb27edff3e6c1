//! The handshake: rustls, fed exactly one record at a time.
//!
//! The peer's first application records often share a segment with the end of its handshake. Given all at once, rustls
//! would open them too, and their bytes and sequence numbers would be stuck inside a connection we are about to take
//! apart. So bytes wait here until they make a whole record, and what follows the last record of the handshake is handed
//! back unread.

use std::mem;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, ExtractedSecrets};

use super::alert::Alert;
use super::credentials::{ALPN, Credentials};
use super::error::{TlsError, quote};
use super::limits::{HANDSHAKE_RECEIVED_MAX_BYTES, RECORD_LENGTH_MAX_BYTES};
use super::record::{HEADER_BYTES, RecordOpener, RecordSealer, content, data_len};
use super::secrets::{Captured, Secret};
use super::suite::Suite;
use super::verify::{take_refusal, workload_of};
use crate::mesh::Identity;

/// How many bytes of a peer that speaks no TLS are shown: enough for a request line.
const FIRST_BYTES_SHOWN: usize = 16;

/// A handshake under way.
pub struct Handshake {
    /// `None` once the handshake is over, well or badly.
    connection: Option<Connection>,
    /// What rustls was fed and has not used up, then the beginning of a record.
    pending: Vec<u8>,
    /// How much of `pending` rustls was fed.
    fed: usize,
    /// Bytes of whole records taken from the peer.
    taken: usize,
    captured: Captured,
}

/// Where a handshake stands after some bytes.
#[derive(Debug)]
pub enum Progress {
    /// Send what was written, and come back with more bytes of the peer.
    More,
    /// Send what was written; the connection can carry data.
    Done(Box<Established>),
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Established {
    /// Who the peer is, verified.
    pub peer: Identity,
    /// The certificates it was verified by, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    pub suite: Suite,
    pub sealer: RecordSealer,
    pub opener: RecordOpener,
    /// Bytes of the peer that came after its handshake, still sealed.
    pub leftover: Vec<u8>,
}

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What rustls wants next.
enum Step {
    Again,
    Record,
    Finish,
}

// === impl Handshake ===

impl Handshake {
    /// The side that connects. Its first flight is written by `advance` with no bytes received.
    pub fn client(credentials: &Credentials) -> Result<Self, TlsError> {
        // rustls wants a name; an address is never sent as SNI.
        let name = ServerName::from(Ipv4Addr::UNSPECIFIED);
        let connection = UnbufferedClientConnection::new(Arc::clone(&credentials.client), name);
        connection.map(|connection| Self::new(Connection::Client(connection))).map_err(TlsError::from_rustls)
    }

    /// The side that accepts.
    pub fn server(credentials: &Credentials) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&credentials.server));
        connection.map(|connection| Self::new(Connection::Server(connection))).map_err(TlsError::from_rustls)
    }

    fn new(connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            pending: Vec::new(),
            fed: 0,
            taken: 0,
            captured: Captured::default(),
        }
    }

    /// Feeds bytes of the peer, cut anywhere, and appends to `out` what has to be sent: the alert too, when it fails.
    pub fn advance(&mut self, mut received: &[u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        let Some(mut connection) = self.connection.take() else {
            return Err(TlsError::Internal("the handshake is already over".to_owned()));
        };
        loop {
            match self.step(&mut connection, out) {
                Ok(Step::Again) => {}
                Ok(Step::Record) => {
                    if !self.take_record(&mut received)? {
                        self.connection = Some(connection);
                        return Ok(Progress::More);
                    }
                }
                Ok(Step::Finish) => return self.finish(connection, received, out).map(Progress::Done),
                Err(error) => {
                    self.write_alert(&mut connection, out);
                    return Err(error);
                }
            }
        }
    }

    /// One call into rustls.
    fn step(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<Step, TlsError> {
        let fed = &mut self.pending[..self.fed];
        let (used, step) = match connection {
            Connection::Client(client) => act(client.process_tls_records(fed), out),
            Connection::Server(server) => act(server.process_tls_records(fed), out),
        };
        self.captured.collect();
        self.pending.drain(..used);
        self.fed -= used;
        let refusal = take_refusal();
        step.map_err(|error| refusal.map_or_else(|| TlsError::from_rustls(error), TlsError::from))
    }

    /// Moves bytes from `received` until `pending` holds one more whole record, and counts that one as fed. False if
    /// `received` ends before.
    fn take_record(&mut self, received: &mut &[u8]) -> Result<bool, TlsError> {
        if !self.fill(HEADER_BYTES, received)? {
            return Ok(false);
        }
        let header = self.pending[self.fed..].first_chunk().expect("invariant: filled to a whole header");
        let length = data_len(header);
        if length > RECORD_LENGTH_MAX_BYTES
            || self.taken + HEADER_BYTES + length > HANDSHAKE_RECEIVED_MAX_BYTES
        {
            return Err(TlsError::TooLong { limit: HANDSHAKE_RECEIVED_MAX_BYTES });
        }
        if !self.fill(HEADER_BYTES + length, received)? {
            return Ok(false);
        }
        self.fed += HEADER_BYTES + length;
        self.taken += HEADER_BYTES + length;
        Ok(true)
    }

    /// Moves bytes from `received` until `pending` holds `wanted` that rustls was not fed.
    fn fill(&mut self, wanted: usize, received: &mut &[u8]) -> Result<bool, TlsError> {
        let missing = wanted.saturating_sub(self.pending.len() - self.fed);
        let (now, later) = received.split_at(missing.min(received.len()));
        self.pending.extend_from_slice(now);
        *received = later;
        if self.taken == 0 && !may_be_tls(&self.pending) {
            let first: Vec<u8> =
                self.pending.iter().chain(*received).copied().take(FIRST_BYTES_SHOWN).collect();
            return Err(TlsError::NotTls { first: quote(&String::from_utf8_lossy(&first)) });
        }
        Ok(now.len() == missing)
    }

    /// Collects the alert that rustls queued when it failed. rustls gives that away before it looks at its input again,
    /// which must stay as it is, since rustls remembers places in it; and it must not come to look, or it fails twice.
    fn write_alert(&mut self, connection: &mut Connection, out: &mut Vec<u8>) {
        while connection.common().wants_write() {
            if self.step(connection, out).is_err() {
                return;
            }
        }
    }

    /// Takes the connection apart.
    fn finish(
        &mut self,
        connection: Connection,
        received: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Box<Established>, TlsError> {
        if !self.pending.is_empty() {
            return Err(TlsError::Internal("rustls left a part of the last record unread".to_owned()));
        }
        let common = connection.common();
        let speaks_h2 = common.alpn_protocol() == Some(ALPN);
        let suite = common.negotiated_cipher_suite().and_then(|suite| Suite::of(suite.suite()));
        let suite = suite.ok_or_else(|| TlsError::Internal("a cipher suite we don't speak".to_owned()))?;
        // The verifier has seen this certificate, else rustls would not be here.
        let chain = common.peer_certificates().unwrap_or_default();
        let peer = workload_of(chain.first().ok_or(TlsError::NoCertificate)?)?;
        let chain = chain.to_vec();

        let (mut sealer, opener) = self.halves(connection, suite)?;
        if !speaks_h2 {
            sealer.alert(out, Alert::NO_APPLICATION_PROTOCOL);
            return Err(TlsError::NoAlpn);
        }
        Ok(Box::new(Established { peer, chain, suite, sealer, opener, leftover: received.to_vec() }))
    }

    /// The two directions, from the secrets that rustls showed; what it extracts must agree with what we derive.
    fn halves(
        &mut self,
        connection: Connection,
        suite: Suite,
    ) -> Result<(RecordSealer, RecordOpener), TlsError> {
        let captured = mem::take(&mut self.captured);
        let (sends, receives, peer_is_server) = match connection {
            Connection::Client(_) => (captured.client, captured.server, true),
            Connection::Server(_) => (captured.server, captured.client, false),
        };
        let extracted = connection.extract()?;
        let (tx_sequence, tx_keys) = extracted.tx;
        let (rx_sequence, rx_keys) = extracted.rx;
        let agreed = |secret: Option<Secret>, keys| {
            secret
                .filter(|secret| secret.as_slice().len() == suite.secret_len())
                .filter(|secret| secret.key_material(suite).agrees_with(keys))
                .ok_or_else(|| {
                    TlsError::Internal("our key schedule does not agree with that of rustls".to_owned())
                })
        };
        let sealer = RecordSealer::new(suite, agreed(sends, &tx_keys)?, tx_sequence);
        let opener = RecordOpener::new(suite, agreed(receives, &rx_keys)?, rx_sequence, peer_is_server);
        Ok((sealer, opener))
    }
}

// === impl Connection ===

impl Connection {
    fn common(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }

    fn extract(self) -> Result<ExtractedSecrets, TlsError> {
        match self {
            Self::Client(client) => client.dangerous_into_kernel_connection().map(|(secrets, _)| secrets),
            Self::Server(server) => server.dangerous_into_kernel_connection().map(|(secrets, _)| secrets),
        }
        .map_err(TlsError::from_rustls)
    }
}

/// Does what rustls asks for. Gives back how many bytes it used up.
fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, rustls::Error>) {
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out).map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Record),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Finish),
        Ok(other) => Err(rustls::Error::General(format!("{other:?} in the middle of the handshake"))),
    };
    (status.discard, step)
}

/// Appends one record of the handshake to `out`; rustls says how long it is when there is no room.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut [])
    {
        out.resize(start + required_size, 0);
        data.encode(&mut out[start..]).map_err(|error| rustls::Error::General(error.to_string()))?;
    }
    Ok(())
}

/// Whether a connection may begin like this: with a handshake record or an alert, of some version of SSL 3 or TLS.
fn may_be_tls(bytes: &[u8]) -> bool {
    let starts = matches!(bytes.first(), None | Some(&(content::HANDSHAKE | content::ALERT)));
    starts && matches!(bytes.get(1), None | Some(3))
}
