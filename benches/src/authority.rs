//! Certificates for the ends of a tunnel: a root, and leaves with a SPIFFE identity.

use engine::mesh::{Identity, TrustDomain};
use engine::tls::{Credentials, TrustBundle};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const TRUST_DOMAIN: &str = "cluster.local";
/// A name beside the identity, for the libraries that want one.
pub(crate) const SERVER_NAME: &str = "server.test";

pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("invariant: a P-256 key can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("invariant: made by its own key");
        let root = root.der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn leaf(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("invariant: a P-256 key can be made");
        let identity = Identity::new(&TrustDomain::new(TRUST_DOMAIN), "default", name);
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()]).expect("invariant: a DNS name");
        let uri = identity.to_string().try_into().expect("invariant: an identity is ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        let leaf = params.signed_by(&key, &self.issuer).expect("invariant: the issuer's key fits");
        (vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// What an end of ringway's holds.
    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        let mut bundle = TrustBundle::default();
        let inserted = bundle.insert(TrustDomain::new(TRUST_DOMAIN), vec![self.root.clone()]);
        inserted.expect("invariant: a root was just made");
        let (chain, key) = self.leaf(name);
        Credentials::new(chain, key, &bundle).expect("invariant: a leaf of the root in the bundle")
    }
}
