//! Certificates of the pods of this node, from whoever signs them.
//!
//! A [`CertificateSource`] is told what is wanted and answers, again and again, with what it got: when a certificate is
//! renewed, when a bundle changes, when there is none to be had. It decides nothing about the ones in use: the
//! reconciler keeps a valid one until it expires.

mod embedded;
mod istio_ca;
mod renewals;
mod signing;
mod spire;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::SystemTime;

use engine::mesh::{Holder, Identity};
use engine::tls::Credentials;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use embedded::Embedded;
pub(crate) use istio_ca::IstioCa;
pub(crate) use spire::Spire;

use renewals::{Renewals, entropy};

/// Answers that wait for the reconciler. A source that is further ahead waits.
pub(crate) const CERTIFICATE_EVENTS_MAX: usize = 256;

/// The identities of the pods of this node, each with the uids of its pods.
pub(crate) type Wants = BTreeMap<Identity, BTreeSet<Arc<str>>>;

/// What a source has to say.
#[derive(Debug)]
pub(crate) enum CertificateEvent {
    /// A certificate to use from now on.
    Obtained { holder: Holder, credentials: Arc<Credentials> },
    /// None could be had this time; the source goes on trying.
    Failed { holder: Holder, cause: String },
    /// Whoever signs says that the holder shall have none any more.
    Withdrawn { holder: Holder, cause: String },
}

/// The longest chain that is taken: of a handshake our peers read 64 KiB, and the rest of it needs its part of that.
const CHAIN_BYTES_MAX: usize = 56 * 1024;

/// What a certificate has around it in its message (RFC 8446 §4.4.2): its length, and that of its extensions.
const CHAIN_ENTRY_BYTES: usize = 5;

/// Refuses a chain that no peer would read to its end.
fn check_length(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let bytes: usize = chain.iter().map(|certificate| certificate.len() + CHAIN_ENTRY_BYTES).sum();
    if bytes <= CHAIN_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "its chain has {bytes} bytes in {} certificates, and no peer reads more than {CHAIN_BYTES_MAX} of one in a handshake: \
         have it send the leaf and its intermediates, and nothing else",
        chain.len()
    ))
}

/// Whoever signs certificates.
pub(crate) trait CertificateSource {
    /// Gets and renews a certificate for each identity that is wanted, until dropped. The wants change whenever a pod
    /// comes or goes; what is no longer wanted is forgotten without a word.
    fn run(
        self,
        wants: watch::Receiver<Wants>,
        events: mpsc::Sender<CertificateEvent>,
    ) -> impl Future<Output = Infallible> + Send + 'static;
}

// === impl CertificateEvent ===

impl CertificateEvent {
    /// What became of a try for every pod of the identity. When the next is due depends on it.
    fn of<E: Display>(
        identity: Identity,
        answer: Result<Credentials, E>,
        renewals: &mut Renewals,
        now: Instant,
    ) -> Self {
        match answer {
            Ok(credentials) => {
                let left = credentials.not_after.duration_since(SystemTime::now()).unwrap_or_default();
                renewals.issued(&identity, left, now, entropy());
                Self::Obtained { holder: Holder::all_of(identity), credentials: Arc::new(credentials) }
            }
            Err(error) => {
                renewals.failed(&identity, now, entropy());
                Self::Failed { holder: Holder::all_of(identity), cause: error.to_string() }
            }
        }
    }
}
