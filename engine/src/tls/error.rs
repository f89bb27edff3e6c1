//! What goes wrong in a handshake: whose fault it is, why, and what to do.

use rustls::PeerIncompatible;
use thiserror::Error;

use super::alert::Alert;
use super::limits::QUOTE_MAX_CHARS;
use super::utc::Utc;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Peer,
    Ours,
}

/// Why a handshake failed.
#[derive(Clone, Debug, Error)]
pub enum TlsError {
    #[error(
        "the peer does not speak TLS, its first bytes are `{first}`: only mutual TLS is taken here; see whether the \
         peer is a node proxy and its workload is enrolled"
    )]
    NotTls { first: String },
    #[error(
        "the peer's handshake does not fit into {limit} bytes, or one of its records is longer than TLS allows: see \
         whether its certificate chain is of a sane length"
    )]
    TooLong { limit: usize },
    /// For the caller, who sees the end of the stream before the handshake is done.
    #[error("the peer closed the connection in the middle of the TLS handshake: its log says why")]
    Closed,
    #[error("the peer broke off the TLS handshake with alert {0}: {cure}", cure = .0.cure())]
    Alert(Alert),
    #[error("the peer shows no certificate: mutual TLS is required; see whether its workload is enrolled")]
    NoCertificate,
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    #[error(
        "the peer does not agree to ALPN `h2`: see whether it is an HBONE proxy and this is the port it expects HBONE on"
    )]
    NoAlpn,
    #[error(
        "the peer and we have no TLS parameters in common ({0:?}): TLS 1.3 with AES-GCM and X25519 or P-256 is needed; \
         see how its TLS is configured"
    )]
    Incompatible(PeerIncompatible),
    #[error(
        "the peer broke the rules of the TLS handshake ({0}): see what it is; if it is a node proxy, report this"
    )]
    Protocol(rustls::Error),
    #[error("our side of the TLS handshake failed ({0}): report this")]
    Internal(String),
}

/// Why the certificate of a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateFault {
    #[error(
        "the peer's certificate, or an issuer's in its chain, is expired: it was valid until {not_after}, our clock says \
         {now}; see whether one of the two clocks is wrong (clock skew), else why the peer does not renew it"
    )]
    Expired { now: Utc, not_after: Utc },
    #[error(
        "the peer's certificate, or an issuer's in its chain, is not yet valid: it is valid from {not_before}, our clock \
         says {now}; see whether one of the two clocks is wrong (clock skew)"
    )]
    NotYetValid { now: Utc, not_before: Utc },
    #[error(
        "the peer is of trust domain `{presented}`, but we are of `{own}` and hold roots for {held} only: see whether \
         both sides are meant to be in one mesh; if so, align TRUST_DOMAIN or federate the bundles"
    )]
    TrustDomain { presented: String, own: String, held: String },
    #[error(
        "the peer's certificate was not issued by a root we hold for its trust domain `{trust_domain}`: compare the \
         trust bundles of both sides"
    )]
    UnknownRoot { trust_domain: String },
    #[error("the certificate names no workload: one SPIFFE URI SAN is needed; see who issued it")]
    NoIdentity,
    #[error("the certificate has {count} URI SANs: SPIFFE allows exactly one; see who issued it")]
    SeveralIdentities { count: usize },
    #[error(
        "the URI SAN `{presented}` is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>: see \
         who issued the certificate"
    )]
    NotAnIdentity { presented: String },
    #[error("the certificate can't be used ({cause}): see who issued it")]
    Unusable { cause: String },
}

// === impl TlsError ===

impl TlsError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::Internal(_) => Fault::Ours,
            _ => Fault::Peer,
        }
    }

    /// What rustls says, in our words.
    pub(super) fn from_rustls(error: rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::AlertReceived(description) => Self::Alert(Alert(description.into())),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::NoAlpn,
            Error::PeerIncompatible(cause) => Self::Incompatible(cause),
            Error::InvalidCertificate(cause) => {
                CertificateFault::Unusable { cause: cause.to_string() }.into()
            }
            Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => {
                Self::Internal(error.to_string())
            }
            error => Self::Protocol(error),
        }
    }
}

/// A peer's own words, fit for a log: escaped and of bounded length.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTE_MAX_CHARS).flat_map(char::escape_debug).collect()
}
