//! Certificates that their issuers took back before their time: revocation lists (RFC 5280 §5).
//!
//! As the contract (reference: TLS) has it, the whole chain is checked, a certificate that no list speaks of is good, and
//! a list that is out of date still counts: who was revoked stays revoked, and a distribution that stands still must not
//! stop the mesh. A list that is not signed by the issuer it names says nothing.
//!
//! A chain is checked when its handshake is over and before a byte of the tunnel is read, and again whenever the lists
//! change; so the lists are no part of any rustls configuration.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use thiserror::Error;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::credentials::Credentials;
use super::verify::PeerVerifier;

/// Lists of one file: those of a root and some intermediates, of several trust domains. Each that speaks of an issuer in
/// a chain costs every handshake two signatures.
const LISTS_MAX: usize = 64;

/// The lists that count at one moment. None, where there are none yet.
#[derive(Default)]
pub struct Revocations {
    lists: Vec<CertRevocationList<'static>>,
}

/// Why lists can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RevocationsError {
    #[error(
        "it holds no revocation list: write them as PEM (`BEGIN X509 CRL`), one after the other, or one as DER"
    )]
    Empty,
    #[error("revocation list {position} can't be read ({cause}): see who issued it")]
    Unreadable { position: usize, cause: String },
    #[error(
        "it holds {count} revocation lists, and at most {LISTS_MAX} are taken: leave out those of issuers that are gone"
    )]
    TooMany { count: usize },
}

/// The chain by which a peer was believed, kept with its tunnel. A handshake takes no more than 64 KiB of a peer, so it
/// is not longer than that.
pub(crate) struct PeerChain {
    certificates: Vec<CertificateDer<'static>>,
    usage: KeyUsage,
    verifier: Arc<PeerVerifier>,
    /// When it was verified: what expired since then does not hide what was revoked.
    verified: UnixTime,
}

// === impl Revocations ===

impl Revocations {
    /// Reads lists in PEM, one after the other with anything between them, or one in DER.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevocationsError> {
        // DER begins with a SEQUENCE; no text begins with its tag.
        let lists = if bytes.first() == Some(&0x30) {
            vec![Self::list(1, bytes)?]
        } else {
            let found = CertificateRevocationListDer::pem_slice_iter(bytes).enumerate();
            let read = found.map(|(at, list)| {
                let position = at + 1;
                let list = list.map_err(|cause| RevocationsError::Unreadable {
                    position,
                    cause: format!("{cause:?}"),
                })?;
                Self::list(position, &list)
            });
            read.collect::<Result<Vec<_>, _>>()?
        };
        match lists.len() {
            0 => Err(RevocationsError::Empty),
            1..=LISTS_MAX => Ok(Self { lists }),
            count => Err(RevocationsError::TooMany { count }),
        }
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    fn list(position: usize, der: &[u8]) -> Result<CertRevocationList<'static>, RevocationsError> {
        OwnedCertRevocationList::from_der(der)
            .map(CertRevocationList::from)
            .map_err(|cause| RevocationsError::Unreadable { position, cause: cause.to_string() })
    }

    /// Whether a certificate of the chain was taken back.
    pub(crate) fn revoke(&self, chain: &PeerChain) -> bool {
        let parsed: Vec<_> = chain.certificates.iter().flat_map(EndEntityCert::try_from).collect();
        let concerns = |list: &CertRevocationList<'_>| {
            parsed.iter().any(|certificate| certificate.issuer() == list.issuer())
        };
        // One by one: of several lists of one issuer webpki asks the first only.
        self.lists.iter().filter(|list| concerns(list)).any(|list| chain.is_revoked_by(list))
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("lists", &self.lists.len()).finish()
    }
}

// === impl PeerChain ===

impl PeerChain {
    /// What a client showed to `credentials`, which are the server's.
    pub(crate) fn of_client(credentials: &Credentials, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self::new(credentials, certificates, KeyUsage::client_auth())
    }

    /// What a server showed to `credentials`, which are the client's.
    pub(crate) fn of_server(credentials: &Credentials, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self::new(credentials, certificates, KeyUsage::server_auth())
    }

    fn new(credentials: &Credentials, certificates: Vec<CertificateDer<'static>>, usage: KeyUsage) -> Self {
        let verified = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            certificates,
            usage,
            verifier: Arc::clone(&credentials.verifier),
            verified: UnixTime::since_unix_epoch(verified),
        }
    }

    fn is_revoked_by(&self, list: &CertRevocationList<'_>) -> bool {
        let lists = [list];
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return false };
        let options = options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build();
        self.verifier.is_revoked(&self.certificates, self.usage, self.verified, options)
    }
}

impl fmt::Debug for PeerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerChain").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}
