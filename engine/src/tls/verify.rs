//! Who a peer is: the same checks for clients and servers, since both are workloads.
//!
//! A certificate is believed if it names exactly one workload (SPIFFE X.509-SVID §2), if we hold roots for the trust
//! domain of that workload, and if its chain leads to one of those. A root of one trust domain can't vouch for another.
//! Whether this peer is the one that was meant is decided by the caller, who knows the expected identities.

use std::cell::RefCell;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::bundle::TrustBundle;
use super::error::{CertificateFault, quote};
use crate::mesh::{Identity, TrustDomain};

/// Verifies the certificates of peers against a bundle.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    own: TrustDomain,
    bundle: TrustBundle,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl PeerVerifier ===

impl PeerVerifier {
    pub(super) fn new(own: TrustDomain, bundle: TrustBundle, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { own, bundle, algorithms }
    }

    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), CertificateFault> {
        self.believe(leaf, intermediates, usage, now, |_path| ())
    }

    /// Verifies, and gives what `keep` makes of the way to a root that was found.
    pub(super) fn believe<T>(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
        keep: impl FnOnce(&VerifiedPath<'_>) -> T,
    ) -> Result<T, CertificateFault> {
        let trust_domain = workload_of(leaf)?.trust_domain;
        let anchors = self.bundle.anchors(&trust_domain).ok_or_else(|| self.foreign(&trust_domain))?;
        // A usage that the leaf does not restrict is allowed: the certificates of Cilium's own CA have neither KeyUsage
        // nor ExtendedKeyUsage.
        parse(leaf)?
            .verify_for_usage(self.algorithms.all, anchors, intermediates, now, usage, None, None)
            .map(|path| keep(&path))
            .map_err(|error| fault(error, &trust_domain))
    }

    pub(super) fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.algorithms
    }

    fn foreign(&self, presented: &TrustDomain) -> CertificateFault {
        let held: Vec<_> = self.bundle.trust_domains().map(|name| format!("`{name}`")).collect();
        CertificateFault::TrustDomain {
            presented: quote(presented.as_str()),
            own: self.own.to_string(),
            held: held.join(", "),
        }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>, // workloads are known by identity, never by name or address
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, KeyUsage::server_auth(), now).map_err(refuse)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // a workload has one certificate, there is nothing to choose by
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, KeyUsage::client_auth(), now).map_err(refuse)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The workload that a certificate names. Says nothing about whether the certificate can be believed.
pub(super) fn workload_of(leaf: &CertificateDer<'_>) -> Result<Identity, CertificateFault> {
    let certificate = parse(leaf)?;
    let mut names = certificate.valid_uri_names();
    // SPIFFE X.509-SVID §2: exactly one URI SAN.
    let name = names.next().ok_or(CertificateFault::NoIdentity)?;
    let others = names.count();
    if others > 0 {
        return Err(CertificateFault::SeveralIdentities { count: others + 1 });
    }
    name.parse().map_err(|_| CertificateFault::NotAnIdentity { presented: quote(name) })
}

pub(super) fn parse<'a>(leaf: &'a CertificateDer<'a>) -> Result<EndEntityCert<'a>, CertificateFault> {
    EndEntityCert::try_from(leaf)
        .map_err(|error| CertificateFault::Unusable { cause: format!("it can't be read: {error}") })
}

fn fault(error: webpki::Error, trust_domain: &TrustDomain) -> CertificateFault {
    match error {
        webpki::Error::CertExpired { time, not_after } => {
            CertificateFault::Expired { now: time.into(), not_after: not_after.into() }
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateFault::NotYetValid { now: time.into(), not_before: not_before.into() }
        }
        // A root of the right name and the wrong key is as unknown as one of another name.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            CertificateFault::UnknownRoot { trust_domain: quote(trust_domain.as_str()) }
        }
        error => CertificateFault::Unusable { cause: error.to_string() },
    }
}

/// Keeps our error for [`take_refusal`], and gives rustls the one that goes with the right alert.
fn refuse(fault: CertificateFault) -> rustls::Error {
    let error = match fault {
        CertificateFault::Expired { .. } => CertificateError::Expired,
        CertificateFault::NotYetValid { .. } => CertificateError::NotValidYet,
        CertificateFault::TrustDomain { .. } | CertificateFault::UnknownRoot { .. } => {
            CertificateError::UnknownIssuer
        }
        CertificateFault::NoIdentity
        | CertificateFault::SeveralIdentities { .. }
        | CertificateFault::NotAnIdentity { .. } => CertificateError::NotValidForName,
        CertificateFault::Unusable { .. } => CertificateError::BadEncoding,
    };
    REFUSED.set(Some(fault));
    rustls::Error::InvalidCertificate(error)
}

/// Why the last call into rustls on this thread refused a certificate, if that was it.
///
/// rustls's own errors have no room for the names and the clocks, and the verifier is shared by all connections of an
/// identity; so the reason waits in a slot of the thread for the caller that gets the error.
pub(super) fn take_refusal() -> Option<CertificateFault> {
    REFUSED.take()
}

thread_local! {
    static REFUSED: RefCell<Option<CertificateFault>> = const { RefCell::new(None) };
}
