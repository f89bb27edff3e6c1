//! Mutual TLS 1.3 between two node proxies, sans-IO: bytes in, bytes out.
//!
//! The handshake is rustls; what comes after it is ours. [`Handshake`] turns the two first flights into an
//! [`Established`]: the verified identity of the peer, and one half per direction, [`RecordSealer`] and
//! [`RecordOpener`], that seal and open records in the caller's buffers. Both halves are plain data (a traffic secret, a
//! sequence number), so a live connection can be written down by one process and carried on by another; rustls's own
//! connection can't.
//!
//! Invariants:
//! - a peer's identity leaves this module only after its certificate chain was verified against the roots of that
//!   identity's own trust domain;
//! - a key and a sequence number are used for one record only;
//! - secrets are wiped when dropped, and never part of a `Debug` output.

mod alert;
mod bundle;
mod chain;
mod credentials;
mod error;
mod facts;
mod handshake;
mod limits;
mod record;
mod revocations;
mod secrets;
mod suite;
mod utc;
mod verify;

#[cfg(test)]
mod tests;

pub use alert::Alert;
pub use bundle::{BundleError, TrustBundle};
pub(crate) use chain::PeerChain;
pub use credentials::{Credentials, CredentialsError};
pub use error::{CertificateFault, Fault, TlsError};
pub use facts::CertificateFacts;
pub use handshake::{Established, Handshake, Progress};
pub use limits::{RECORD_DATA_MAX_BYTES, RECORD_LENGTH_MAX_BYTES};
pub use record::{
    Opened, RECORD_OVERHEAD_BYTES, RecordBuffer, RecordError, RecordOpener, RecordSealer, Records,
};
pub use revocations::{Revocations, RevocationsError, UnusableList};
pub use suite::{Suite, Suites};
pub use utc::Utc;
