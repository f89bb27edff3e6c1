//! What a workload proves its identity with, and the rustls configurations built from it once per rotation.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, InconsistentKeys, ServerConfig};
use thiserror::Error;
use webpki::KeyUsage;
use zeroize::Zeroizing;

use super::bundle::TrustBundle;
use super::error::CertificateFault;
use super::facts::CertificateFacts;
use super::secrets::SecretTap;
use super::suite::Suites;
use super::verify::{PeerVerifier, workload_of};
use crate::mesh::{Identity, TrustDomain};

/// The protocol inside: HTTP/2, and nothing else (RFC 7301, RFC 9113 §3.2).
pub(super) const ALPN: &[u8] = b"h2";

/// The certificate, key and roots of one workload. Built once per rotation and shared.
pub struct Credentials {
    /// The workload that the certificate names.
    pub identity: Identity,
    /// The certificate counts from here.
    pub not_before: SystemTime,
    /// The certificate counts until here.
    pub not_after: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    bundle: TrustBundle,
    pub(super) verifier: Arc<PeerVerifier>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

/// Why a certificate, key and bundle don't make credentials.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    #[error("no certificate came with the key: see who issues them")]
    NoCertificate,
    #[error("our own certificate is refused: {0}")]
    Certificate(#[from] CertificateFault),
    #[error("the private key does not belong to the certificate of `{identity}`: see who issues them")]
    KeyMismatch { identity: Identity },
    #[error(
        "the private key of `{identity}` can't be used ({cause}): EC P-256, P-384 or RSA in PKCS#8 is needed"
    )]
    Key { identity: Identity, cause: String },
    #[error(
        "the bundle holds no root of our own trust domain `{trust_domain}`, so no peer could be verified: see who hands \
         it out, and TRUST_DOMAIN"
    )]
    NoRoots { trust_domain: TrustDomain },
}

// === impl Credentials ===

impl Credentials {
    /// `chain` begins with the leaf; the roots belong into the bundle. The bytes of the key are wiped: what stays is
    /// what signs with it.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        bundle: &TrustBundle,
        suites: Suites,
    ) -> Result<Self, CredentialsError> {
        let key = Zeroizing::new(key);
        let leaf = chain.first().ok_or(CredentialsError::NoCertificate)?;
        let identity = workload_of(leaf)?;
        let facts = CertificateFacts::read(leaf)?;
        if bundle.anchors(&identity.trust_domain).is_none() {
            return Err(CredentialsError::NoRoots { trust_domain: identity.trust_domain });
        }

        let provider = provider(suites);
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Arc::new(PeerVerifier::new(identity.trust_domain.clone(), bundle.clone(), algorithms));
        let refuse = |error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CredentialsError::KeyMismatch { identity: identity.clone() }
            }
            error => CredentialsError::Key { identity: identity.clone(), cause: error.to_string() },
        };
        let signer = Arc::new(SingleCertAndKey::from(certified(chain.clone(), &key).map_err(refuse)?));
        let client = client_config(&provider, &verifier, &signer).map_err(refuse)?;
        let server = server_config(&provider, &verifier, &signer).map_err(refuse)?;
        Ok(Self {
            identity,
            not_before: facts.not_before.into(),
            not_after: facts.not_after.into(),
            chain,
            bundle: bundle.clone(),
            verifier,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// Whether a peer with the same bundle would believe us at this moment.
    pub fn verify(&self, now: SystemTime) -> Result<(), CertificateFault> {
        let (leaf, intermediates) =
            self.chain.split_first().expect("invariant: `new` takes no chain without a leaf");
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.verifier.verify(leaf, intermediates, KeyUsage::server_auth(), now)?;
        self.verifier.verify(leaf, intermediates, KeyUsage::client_auth(), now)
    }

    /// The certificates that are shown to peers, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The roots that peers are verified against.
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// TLS 1.3 with AES-GCM (no ChaCha20: every machine we serve has AES instructions), X25519 or P-256.
fn provider(suites: Suites) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites.of_rustls(),
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
}

/// The chain with what signs for it.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let certified = CertifiedKey::new(chain, any_supported_type(key)?);
    match certified.keys_match() {
        // A key that cannot tell its public half is believed, as rustls does.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error),
    }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<PeerVerifier>,
    signer: &Arc<SingleCertAndKey>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // rustls's word for a verifier of one's own
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<_>)
        .with_client_cert_resolver(Arc::clone(signer) as Arc<_>);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    // Tunnels are pooled and live long; a ticket would only keep an identity alive past its certificate.
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretTap);
    Ok(config)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<PeerVerifier>,
    signer: &Arc<SingleCertAndKey>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(verifier) as Arc<_>)
        .with_cert_resolver(Arc::clone(signer) as Arc<_>);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ignore_client_order = true; // our order counts: ztunnel lists AES-256 first and takes AES-128 too
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretTap);
    Ok(config)
}
