//! The certificates by which a peer is believed, kept to be asked about again.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::credentials::Credentials;

/// The chain by which a peer was believed, kept with its tunnel. A handshake takes no more than 64 KiB of a peer, so it
/// is not longer than that.
pub(crate) struct PeerChain {
    /// `None` if nothing that the peer showed leads to a root of ours. A handshake sees to that before; should the two ever
    /// disagree, the peer counts as revoked.
    path: Option<Path>,
    usage: KeyUsage,
    algorithms: WebPkiSupportedAlgorithms,
    /// When it was verified: what expired since then does not hide what was revoked.
    verified: UnixTime,
}

/// The one way from a leaf to a root that was found good.
///
/// Of what the peer showed besides nothing is kept. Certificates that it made itself, with the name of its issuer, give
/// webpki other ways to try, whose faults outrank a revocation or use up the signatures that it is ready to check.
struct Path {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    anchor: TrustAnchor<'static>,
    /// The names of those who issued the leaf and the intermediates, as DER.
    issuers: Vec<Box<[u8]>>,
}

/// What a revocation list says of a chain.
#[derive(Debug)]
pub(super) enum Says {
    Nothing,
    Revoked,
    /// It may or may not take a certificate back: it can't be relied on, for this reason.
    Unusable(Error),
}

// === impl PeerChain ===

impl PeerChain {
    /// What a client showed to `credentials`, which are the server's.
    pub(crate) fn of_client(credentials: &Credentials, shown: &[CertificateDer<'static>]) -> Self {
        Self::new(credentials, shown, KeyUsage::client_auth())
    }

    /// What a server showed to `credentials`, which are the client's.
    pub(crate) fn of_server(credentials: &Credentials, shown: &[CertificateDer<'static>]) -> Self {
        Self::new(credentials, shown, KeyUsage::server_auth())
    }

    fn new(credentials: &Credentials, shown: &[CertificateDer<'static>], usage: KeyUsage) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let verified = UnixTime::since_unix_epoch(now);
        let verifier = &credentials.verifier;
        let path = shown.split_first().and_then(|(leaf, intermediates)| {
            verifier.believe(leaf, intermediates, usage, verified, |path| Path::new(leaf, path)).ok()
        });
        Self { path, usage, algorithms: verifier.algorithms(), verified }
    }

    /// Nothing that the peer showed leads to a root of ours.
    pub(super) fn is_unbelievable(&self) -> bool {
        self.path.is_none()
    }

    /// Whether an issuer of its certificates has this name, as DER.
    pub(super) fn is_issued_by(&self, name: &[u8]) -> bool {
        self.path.as_ref().is_some_and(|path| path.issuers.iter().any(|issuer| **issuer == *name))
    }

    /// What `list` says of it.
    pub(super) fn ask(&self, list: &CertRevocationList<'_>) -> Says {
        let Some(path) = &self.path else { return Says::Revoked };
        let lists = [list];
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Says::Nothing };
        let options = options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build();
        let Ok(leaf) = EndEntityCert::try_from(&path.leaf) else { return Says::Revoked };
        let anchor = std::slice::from_ref(&path.anchor);
        let (all, now) = (self.algorithms.all, self.verified);
        match leaf.verify_for_usage(all, anchor, &path.intermediates, now, self.usage, Some(options), None) {
            Ok(_) => Says::Nothing,
            // Somebody else of that name signed it.
            Err(Error::InvalidCrlSignatureForPublicKey)
            | Err(Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)) => Says::Nothing,
            Err(error @ (Error::IssuerNotCrlSigner | Error::UnsupportedCrlSignatureAlgorithmContext(_))) => {
                Says::Unusable(error)
            }
            // Without the list the path is good: a fault of any other kind is not to be explained away.
            Err(_) => Says::Revoked,
        }
    }
}

impl fmt::Debug for PeerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerChain").field("believed", &self.path.is_some()).finish_non_exhaustive()
    }
}

// === impl Path ===

impl Path {
    fn new(leaf: &CertificateDer<'static>, path: &VerifiedPath<'_>) -> Self {
        let intermediates = || path.intermediate_certificates();
        let issuers = intermediates().map(|certificate| certificate.issuer());
        Self {
            leaf: leaf.clone(),
            intermediates: intermediates().map(|certificate| certificate.der().into_owned()).collect(),
            anchor: path.anchor().to_owned(),
            issuers: issuers.chain([path.end_entity().issuer()]).map(Box::from).collect(),
        }
    }
}
