//! Two ends and the bytes between them: ours on one side, rustls's stream API on the other.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::pki::{Leaf, Pki};
use crate::tls::{
    Credentials, Established, Handshake, Opened, Progress, RecordError, RecordOpener, Suite, TlsError,
};

/// Which side of the handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

pub(super) const ROLES: [Role; 2] = [Role::Client, Role::Server];
pub(super) const SUITES: [Suite; 2] = [Suite::Aes128Gcm, Suite::Aes256Gcm];

/// How the bytes that we receive are cut.
#[derive(Clone, Debug)]
pub(super) enum Cut {
    Whole,
    Every(usize),
    Random(Dice),
}

/// Numbers that look random and are the same in every run (xorshift64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

/// What the rustls end is like, where it differs from an ordinary peer.
pub(super) struct Peer {
    pub(super) leaf: Option<Leaf>,
    pub(super) suites: Vec<Suite>,
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) tickets: usize,
    /// A server that writes before it has heard the client's Finished; rustls does so only where it asks for no
    /// certificate.
    pub(super) half_rtt: bool,
}

/// Why our end failed, and what the peer says when it has our alert.
pub(super) type Refused = (TlsError, Result<(), rustls::Error>);

/// A connection after its handshake, and what is under way to us.
pub(super) struct Link {
    pub(super) ours: Established,
    pub(super) peer: Connection,
    pub(super) to_us: Vec<u8>,
}

// === impl Cut ===

impl Cut {
    /// The next piece of `bytes`.
    pub(super) fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let length = match self {
            Self::Whole => bytes.len(),
            Self::Every(length) => *length,
            Self::Random(dice) => 1 + dice.below(400),
        };
        let (now, later) = bytes.split_at(length.min(bytes.len()));
        *bytes = later;
        now
    }
}

// === impl Dice ===

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll() as u8).collect()
    }
}

// === impl Peer ===

impl Peer {
    pub(super) fn new(pki: &Pki) -> Self {
        Self::with_leaf(pki.leaf("peer"))
    }

    pub(super) fn with_leaf(leaf: Leaf) -> Self {
        let alpn = vec![b"h2".to_vec()];
        Self {
            leaf: Some(leaf),
            suites: vec![Suite::Aes128Gcm],
            groups: default_provider().kx_groups,
            alpn,
            tickets: 0,
            half_rtt: false,
        }
    }

    pub(super) fn suite(self, suite: Suite) -> Self {
        Self { suites: vec![suite], ..self }
    }

    /// The other end of a connection on which we are `role`. It verifies us only as far as `root` goes.
    pub(super) fn start(self, role: Role, root: &CertificateDer<'static>) -> Connection {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: self.suites.iter().copied().map(Suite::of_rustls).collect(),
            kx_groups: self.groups.clone(),
            ..default_provider()
        });
        match role {
            Role::Client => Connection::Server(self.server(provider, root)),
            Role::Server => Connection::Client(self.client(provider)),
        }
    }

    fn server(self, provider: Arc<CryptoProvider>, root: &CertificateDer<'static>) -> ServerConnection {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let leaf = self.leaf.unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
        let config = match self.half_rtt {
            true => config.with_no_client_auth(),
            false => config.with_client_cert_verifier(verifier),
        };
        let mut config = config.with_single_cert(leaf.chain, leaf.key).unwrap();
        config.alpn_protocols = self.alpn;
        config.send_tls13_tickets = self.tickets;
        config.send_half_rtt_data = self.half_rtt;
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    fn client(self, provider: Arc<CryptoProvider>) -> ClientConnection {
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
        let mut config = match self.leaf {
            Some(leaf) => config.with_client_auth_cert(leaf.chain, leaf.key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        ClientConnection::new(Arc::new(config), ServerName::try_from("peer.test").unwrap()).unwrap()
    }
}

// === impl Link ===

impl Link {
    /// A connection between two workloads of one mesh.
    pub(super) fn new(role: Role, suite: Suite) -> Self {
        let pki = Pki::new("cluster.local");
        let peer = Peer::new(&pki).suite(suite).start(role, &pki.root);
        Self::connect(role, &pki.credentials("us"), peer, &mut Cut::Whole).unwrap()
    }

    /// Runs the handshake. On failure, our alert has gone to the peer, whose verdict comes back too.
    pub(super) fn connect(
        role: Role,
        credentials: &Credentials,
        mut peer: Connection,
        cut: &mut Cut,
    ) -> Result<Self, Box<Refused>> {
        let mut handshake = start(role, credentials);
        let mut to_peer = Vec::new();
        let mut progress = handshake.advance(&[], &mut to_peer);
        loop {
            match progress {
                Ok(Progress::Done(ours)) => {
                    give(&mut peer, &to_peer).unwrap();
                    let to_us = take(&mut peer);
                    return Ok(Self { ours: *ours, peer, to_us });
                }
                Ok(Progress::More) => {}
                Err(error) => {
                    let verdict = give(&mut peer, &to_peer);
                    return Err(Box::new((error, verdict)));
                }
            }
            let verdict = give(&mut peer, &to_peer);
            to_peer.clear();
            let flight = take(&mut peer);
            assert!(!flight.is_empty(), "both ends wait for each other; the peer says {verdict:?}");
            let mut flight = &flight[..];
            progress = Ok(Progress::More);
            while !flight.is_empty() && matches!(progress, Ok(Progress::More)) {
                progress = handshake.advance(cut.take(&mut flight), &mut to_peer);
            }
            if let Ok(Progress::Done(ours)) = &mut progress {
                ours.leftover.extend_from_slice(flight);
            }
        }
    }

    /// We send, the peer reads.
    pub(super) fn carry(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.ours.sealer.put(&mut sealed, bytes);
        self.ours.sealer.flush(&mut sealed);
        self.deliver(&sealed).unwrap()
    }

    /// Gives sealed bytes to the peer and reads what they hold.
    pub(super) fn deliver(&mut self, mut sealed: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut read = Vec::new();
        while !sealed.is_empty() {
            let taken = self.peer.read_tls(&mut sealed).unwrap();
            assert!(taken > 0, "the peer reads no more");
            let state = self.peer.process_new_packets()?;
            let start = read.len();
            read.resize(start + state.plaintext_bytes_to_read(), 0);
            self.peer.reader().read_exact(&mut read[start..]).unwrap();
        }
        Ok(read)
    }

    /// The peer writes; the sealed bytes are under way to us.
    pub(super) fn peer_writes(&mut self, bytes: &[u8]) {
        self.peer.writer().write_all(bytes).unwrap();
        self.to_us.extend(take(&mut self.peer));
    }

    /// Opens all that is under way to us, the leftover of the handshake first.
    pub(super) fn receive(&mut self) -> Result<Received, RecordError> {
        let mut bytes = std::mem::take(&mut self.ours.leftover);
        bytes.append(&mut self.to_us);
        open_all(&mut self.ours.opener, &mut bytes)
    }
}

/// What some records held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) data: Vec<u8>,
    pub(super) nothing: usize,
    pub(super) key_updates: usize,
    pub(super) answers: usize,
    pub(super) closed: bool,
}

/// Opens every whole record of `bytes`, which must end with one.
pub(super) fn open_all(opener: &mut RecordOpener, bytes: &mut [u8]) -> Result<Received, RecordError> {
    let mut received = Received::default();
    let mut rest = bytes;
    while let Some(length) = RecordOpener::record_len(rest)? {
        let (record, later) = rest.split_at_mut(length);
        match opener.open(record)? {
            Opened::Data(data) => received.data.extend_from_slice(data),
            Opened::Nothing => received.nothing += 1,
            Opened::KeyUpdate { answer } => {
                received.key_updates += 1;
                received.answers += usize::from(answer);
            }
            Opened::Closed => received.closed = true,
        }
        rest = later;
    }
    assert!(rest.is_empty());
    Ok(received)
}

/// Both ends ours: the client's and the server's halves.
pub(super) fn pair() -> (Established, Established) {
    let pki = Pki::new("cluster.local");
    let mut client = start(Role::Client, &pki.credentials("client"));
    let mut server = start(Role::Server, &pki.credentials("server"));
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let more = |progress| assert!(matches!(progress, Ok(Progress::More)));
    more(client.advance(&[], &mut to_server));
    more(server.advance(&to_server, &mut to_client));
    to_server.clear();
    let Ok(Progress::Done(client)) = client.advance(&to_client, &mut to_server) else {
        panic!("the client is done after one flight")
    };
    to_client.clear();
    let Ok(Progress::Done(server)) = server.advance(&to_server, &mut to_client) else {
        panic!("the server is done after the client's second flight")
    };
    assert!(to_client.is_empty(), "no ticket");
    (*client, *server)
}

pub(super) fn start(role: Role, credentials: &Credentials) -> Handshake {
    match role {
        Role::Client => Handshake::client(credentials).unwrap(),
        Role::Server => Handshake::server(credentials).unwrap(),
    }
}

/// Gives bytes to a rustls end.
pub(super) fn give(peer: &mut Connection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets()?;
    }
    Ok(())
}

/// Takes all that a rustls end wants to send.
pub(super) fn take(peer: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// A client that believes any server's certificate, but checks its signature.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
