//! The embedded certificate authority, for meshes without one: every node that shares the root's directory issues the
//! certificates of its own workloads.
//!
//! The directory (`RINGWAY_CA_DIR`) holds `root-cert.pem` and `root-key.pem`. What is there is used as it is; an empty
//! directory gets a new root. Certificates in `root-cert.pem` after the first are trusted and don't issue, which is how a
//! root is replaced: new one in front, old one behind it until its last certificate has expired.

mod error;
mod files;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use engine::mesh::{Identity, TrustDomain};
use engine::tls::{CertificateFacts, Credentials, Suites, TrustBundle, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use error::CaError;
use files::{CERTIFICATE_FILE, Files, KEY_FILE};

/// How far the beginning of a certificate is set back, for peers whose clocks are behind ours.
const SET_BACK_SECS: u64 = 60;

/// How long a root of ours lasts. Replacing it takes an operator, so it should outlive the cluster.
const ROOT_LIFETIME_DAYS: u64 = 3_650;

/// The name that a root of ours goes by.
const ROOT_NAME: &str = "ringway root";

/// Issues certificates from one root.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The issuing root first.
    roots: Vec<CertificateDer<'static>>,
    facts: CertificateFacts,
    certificate_path: PathBuf,
}

// === impl Authority ===

impl Authority {
    /// Uses the root in `directory`, and makes one if there is none. Two nodes that do so at the same time end up with
    /// the same root.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        Self::of(&Files::read_or_create(directory, new_root)?, directory)
    }

    /// Whether [`Authority::open`] would find a root that can be used, or could make one. Changes nothing.
    pub fn check(directory: &Path) -> Result<(), CaError> {
        match Files::look(directory)? {
            Some(files) => Self::of(&files, directory).map(drop),
            None => Ok(()),
        }
    }

    fn of(files: &Files, directory: &Path) -> Result<Self, CaError> {
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_path = directory.join(KEY_FILE);

        let roots = read_certificates(&files.certificate, &certificate_path)?;
        let key = read_key(&files.key, &key_path)?;
        let unusable = |cause| CaError::Certificate { path: certificate_path.clone(), cause };
        let root = roots.first().ok_or_else(|| unusable("there is no certificate in it".to_owned()))?;
        let facts = CertificateFacts::read(root).map_err(|fault| unusable(fault.to_string()))?;
        if !holds(root, key.der_bytes()) {
            return Err(CaError::Mismatch { certificate: certificate_path, key: key_path });
        }
        let issuer = Issuer::from_ca_cert_der(root, key).map_err(|error| unusable(error.to_string()))?;
        let usages = issuer.key_usages();
        let signs = usages.is_empty() || usages.contains(&KeyUsagePurpose::KeyCertSign);
        if !facts.is_authority || !signs {
            return Err(CaError::NotAnAuthority { path: certificate_path });
        }

        let authority = Self { issuer, roots, facts, certificate_path };
        authority.check_not_expired(SystemTime::now())?;
        Ok(authority)
    }

    /// A new key and a certificate for `identity`, good for `lifetime` or as long as the root, if that is less.
    pub fn issue(
        &self,
        identity: &Identity,
        lifetime: Duration,
        suites: Suites,
    ) -> Result<Credentials, CaError> {
        let now = SystemTime::now();
        self.check_not_expired(now)?;
        let failed = |cause| CaError::Issue { identity: identity.clone(), cause };

        let root_end = SystemTime::from(self.facts.not_after);
        let end = now.checked_add(lifetime).map_or(root_end, |end| end.min(root_end));
        let params = leaf(identity, now, end).map_err(|error| failed(error.to_string()))?;
        let key = Zeroizing::new(KeyPair::generate().map_err(|error| failed(error.to_string()))?);
        let certificate = params.signed_by(&*key, &self.issuer).map_err(|error| failed(error.to_string()))?;

        let bundle = self.bundle(&identity.trust_domain)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let credentials = Credentials::new(vec![certificate.der().clone()], key, &bundle, suites)
            .map_err(|error| failed(error.to_string()))?;
        // Better no certificate than one that every peer refuses.
        credentials.verify(now).map_err(|fault| failed(fault.to_string()))?;
        Ok(credentials)
    }

    /// The roots, as those of `trust_domain`.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Result<TrustBundle, CaError> {
        let mut bundle = TrustBundle::default();
        bundle.insert(trust_domain.clone(), self.roots.clone()).map_err(|error| CaError::Certificate {
            path: self.certificate_path.clone(),
            cause: error.to_string(),
        })?;
        Ok(bundle)
    }

    fn check_not_expired(&self, now: SystemTime) -> Result<(), CaError> {
        let (now, not_after) = (Utc::from(now), self.facts.not_after);
        if now > not_after {
            return Err(CaError::Expired { path: self.certificate_path.clone(), now, not_after });
        }
        Ok(())
    }
}

/// What a certificate of a workload says (SPIFFE X.509-SVID): who, for how long, and that it is client and server. Its
/// serial number is left to rcgen, which takes it from the hash of the key: as random as the key is.
fn leaf(identity: &Identity, now: SystemTime, end: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    params.not_before = set_back(now);
    params.not_after = end.into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A root for a mesh that has none.
fn new_root() -> Result<Files, rcgen::Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, ROOT_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = set_back(now);
    params.not_after = (now + Duration::from_secs(ROOT_LIFETIME_DAYS * 24 * 60 * 60)).into();
    let key = Zeroizing::new(KeyPair::generate()?);
    let certificate = params.self_signed(&*key)?;
    let key = Zeroizing::new(key.serialize_pem().into_bytes());
    Ok(Files { certificate: certificate.pem().into_bytes(), key })
}

fn set_back(now: SystemTime) -> OffsetDateTime {
    (now - Duration::from_secs(SET_BACK_SECS)).into()
}

fn read_certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CaError::Certificate { path: path.to_owned(), cause: error.to_string() })
}

fn read_key(pem: &[u8], path: &Path) -> Result<KeyPair, CaError> {
    let unusable = |cause: String| CaError::Key { path: path.to_owned(), cause };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| unusable(error.to_string()))?;
    let key = Zeroizing::new(key);
    KeyPair::try_from(&*key).map_err(|error| unusable(error.to_string()))
}

/// Whether a certificate carries this public key. Its bytes appear in the certificate as they are, and nowhere by chance.
fn holds(certificate: &CertificateDer<'_>, public_key: &[u8]) -> bool {
    certificate.windows(public_key.len()).any(|window| window == public_key)
}
