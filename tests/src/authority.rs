//! Certificates no proxy would issue, under the root the proxies share or under a stranger's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::proxy::{ROOT_CERT_FILE, ROOT_KEY_FILE};
use crate::spire::{UPSTREAM_CERTIFICATE, UPSTREAM_KEY, UPSTREAM_ROOT};

/// A root certificate and its key.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    /// The same in PEM.
    pem: String,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Known of those that were issued here.
    serial: Option<SerialNumber>,
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), serial: self.serial.clone() }
    }
}

/// When a certificate is valid, relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    Expired,
    NotYet,
}

impl Leaf {
    /// One in PEM, with what it was signed by after it.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
        Ok(Self { chain, key: PrivateKeyDer::from_pem_slice(key.as_bytes())?, serial: None })
    }
}

impl Authority {
    /// The root in `directory`, as RINGWAY_CA_DIR holds it.
    pub fn open(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let key = KeyPair::from_pem(&read(ROOT_KEY_FILE)?)?;
        let pem = read(ROOT_CERT_FILE)?;
        let root = CertificateDer::from_pem_slice(pem.as_bytes())?;
        Ok(Self { issuer: Issuer::from_ca_cert_der(&root, key)?, root, pem })
    }

    /// Puts a new root into `directory`, as a user does who brings one.
    pub fn create(directory: &Path) -> Result<Self> {
        let (params, key) = root()?;
        fs::write(directory.join(ROOT_CERT_FILE), params.self_signed(&key)?.pem())?;
        let key_file = directory.join(ROOT_KEY_FILE);
        fs::write(&key_file, key.serialize_pem())?;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
        Self::open(directory)
    }

    /// A root nobody knows.
    pub fn stranger() -> Result<Self> {
        let (params, key) = root()?;
        let certificate = params.self_signed(&key)?;
        let (root, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { issuer: Issuer::new(params, key), root, pem })
    }

    /// Its certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The same in PEM.
    pub fn root_pem(&self) -> &str {
        &self.pem
    }

    /// Puts an authority below this one into `directory`, for SPIRE's server to sign its own with.
    pub fn create_upstream(&self, directory: &Path) -> Result<()> {
        let (mut params, key) = root()?;
        params.distinguished_name.push(DnType::CommonName, "upstream");
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(directory.join(UPSTREAM_CERTIFICATE), certificate.pem())?;
        fs::write(directory.join(UPSTREAM_KEY), key.serialize_pem())?;
        fs::write(directory.join(UPSTREAM_ROOT), self.root_pem())?;
        Ok(())
    }

    /// A certificate with these URI SANs.
    pub fn issue(&self, uris: &[&str], validity: Validity) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (now - Duration::minutes(1), now + Duration::hours(1)),
            Validity::Expired => (now - Duration::hours(2), now - Duration::hours(1)),
            Validity::NotYet => (now + Duration::hours(1), now + Duration::hours(2)),
        };
        // As good as random, and positive.
        let mut serial = key.public_key_raw()[1..17].to_vec();
        serial[0] = serial[0] & 0x7f | 0x40;
        let serial = SerialNumber::from(serial);
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            serial: Some(serial),
        })
    }

    /// A list in PEM that takes these certificates back.
    pub fn revoke(&self, leaves: &[&Leaf]) -> Result<String> {
        let now = OffsetDateTime::now_utc();
        let entry = |leaf: &&Leaf| {
            let serial_number = leaf.serial.clone().context("its number is not known here")?;
            let (reason_code, invalidity_date) = (None, None);
            anyhow::Ok(RevokedCertParams {
                serial_number,
                revocation_time: now,
                reason_code,
                invalidity_date,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::hours(1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: leaves.iter().map(entry).collect::<Result<_>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

fn root() -> Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params, KeyPair::generate()?))
}
