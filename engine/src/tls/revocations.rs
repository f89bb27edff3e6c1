//! Certificates that their issuers took back before their time: revocation lists (RFC 5280 §5).
//!
//! As the contract (reference: TLS) has it, the whole chain is checked, a certificate that no list speaks of is good, and
//! a list that is out of date still counts: who was revoked stays revoked, and a distribution that stands still must not
//! stop the mesh. A list that is not signed by the issuer it names says nothing: its name can be anybody's.
//!
//! A list of the right issuer that can't be used, because its issuer may not sign lists (RFC 5280 §6.3.3 f) or its
//! signature is of a kind we do not know, takes nothing back either: to that RFC it is no list, and of whom no list
//! speaks is good. It is a mistake of whoever runs the authority all the same, and nobody is revoked where they believe to
//! have done it; so it is [told](Revocations::unusable), and the log names the issuer. Refusing instead would
//! close the mesh of everybody below that issuer by a file meant for one.
//!
//! A chain is checked when its handshake is over and before a byte of the tunnel is read, and again whenever the lists
//! change; so the lists are no part of any rustls configuration.

use std::fmt;
use std::sync::OnceLock;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::chain::{PeerChain, Says};

/// Lists of one file: those of a root and some intermediates, of several trust domains. Each that speaks of an issuer in
/// a chain costs every handshake two signatures.
const LISTS_MAX: usize = 64;

/// The lists that count at one moment. None, where there are none yet.
#[derive(Default)]
pub struct Revocations {
    lists: Vec<List>,
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

/// A list that speaks of an issuer in a chain that was checked, and could not be used.
#[derive(Clone, Copy, Debug)]
pub struct UnusableList<'l> {
    /// Its place in the file, from one.
    pub position: usize,
    /// Who issued it: the relative distinguished names of an X.501 Name in DER, one after the other.
    pub issuer: &'l [u8],
    pub cause: &'l str,
}

struct List {
    list: CertRevocationList<'static>,
    /// Why it could not be used when it was needed. Set by whichever shard needed it first.
    fault: OnceLock<String>,
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

    fn list(position: usize, der: &[u8]) -> Result<List, RevocationsError> {
        OwnedCertRevocationList::from_der(der)
            .map(|list| List { list: list.into(), fault: OnceLock::new() })
            .map_err(|cause| RevocationsError::Unreadable { position, cause: cause.to_string() })
    }

    /// The lists that could not be used when they were needed, so far.
    pub fn unusable(&self) -> impl Iterator<Item = UnusableList<'_>> {
        self.lists.iter().enumerate().filter_map(|(at, List { list, fault })| {
            Some(UnusableList { position: at + 1, issuer: list.issuer(), cause: fault.get()? })
        })
    }

    /// Whether a certificate of the chain was taken back.
    pub(crate) fn revoke(&self, chain: &PeerChain) -> bool {
        if chain.is_unbelievable() {
            return true;
        }
        let mut concerned = self.lists.iter().filter(|list| chain.is_issued_by(list.list.issuer()));
        // One by one: of several lists of one issuer webpki asks the first only.
        concerned.any(|list| list.revokes(chain))
    }
}

impl List {
    fn revokes(&self, chain: &PeerChain) -> bool {
        match chain.ask(&self.list) {
            Says::Nothing => false,
            Says::Revoked => true,
            Says::Unusable(error) => {
                self.fault.get_or_init(|| cause(&error));
                false
            }
        }
    }
}

/// Why a list can't be used, with what to do.
fn cause(error: &webpki::Error) -> String {
    match error {
        webpki::Error::IssuerNotCrlSigner => {
            "the key usage of its issuer's certificate does not allow it to sign \
            revocation lists (cRLSign): issue that certificate again with it"
                .to_owned()
        }
        error => format!("its signature can't be checked ({error}): sign it with ECDSA, Ed25519 or RSA"),
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("lists", &self.lists.len()).finish()
    }
}
