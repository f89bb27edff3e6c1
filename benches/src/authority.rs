//! Certificates for the ends of a tunnel: a root, and leaves with a SPIFFE identity.

use engine::mesh::{Identity, TrustDomain};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::SetupError;

const TRUST_DOMAIN: &str = "cluster.local";
/// A name beside the identity, for the libraries that want one.
pub(crate) const SERVER_NAME: &str = "server.test";

/// A chain and its key.
pub(crate) type Leaf = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, SetupError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key)?.der().clone();
        Ok(Self { root, issuer: Issuer::new(params, key) })
    }

    pub(crate) fn leaf(&self, name: &str) -> Result<Leaf, SetupError> {
        let key = KeyPair::generate()?;
        let identity = Identity::new(&TrustDomain::new(TRUST_DOMAIN), "default", name);
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()])?;
        params.subject_alt_names.push(SanType::URI(identity.to_string().try_into()?));
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok((vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}
