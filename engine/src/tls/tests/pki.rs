//! Certificate authorities and leaves of every sort, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::mesh::{Identity, TrustDomain};
use crate::relay::tests::fixture::revocation_list;
use crate::tls::{Credentials, Suites, TrustBundle};

pub(super) struct Pki {
    pub(super) trust_domain: TrustDomain,
    pub(super) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pki {
    pub(super) fn new(trust_domain: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(&format!("root of {trust_domain}"));
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { trust_domain: TrustDomain::new(trust_domain), root, issuer: Issuer::new(params, key) }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        Identity::new(&self.trust_domain, "shop", name)
    }

    pub(super) fn bundle(&self) -> TrustBundle {
        let mut bundle = TrustBundle::default();
        bundle.insert(self.trust_domain.clone(), vec![self.root.clone()]).unwrap();
        bundle
    }

    /// A leaf for a workload, as a CA of ours would issue it.
    pub(super) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(|params| params.subject_alt_names = uris(&[&self.identity(name).to_string()]))
    }

    /// A leaf with something particular about it.
    pub(super) fn leaf_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { chain: vec![leaf.der().clone()], key: private(&key) }
    }

    /// A leaf that an intermediate authority of ours issued.
    pub(super) fn leaf_of_intermediate(&self, name: &str) -> Leaf {
        let (below, intermediate) = self.intermediate(|_| {});
        let mut leaf = below.leaf(name);
        leaf.chain.push(intermediate);
        leaf
    }

    /// An authority below this one, and its certificate with something particular about it.
    pub(super) fn intermediate(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Self, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = authority("intermediate");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let below = Self {
            trust_domain: self.trust_domain.clone(),
            root: self.root.clone(),
            issuer: Issuer::new(authority("intermediate"), key),
        };
        (below, certificate)
    }

    /// Certificates that anybody can make: authorities of the same name, each with a key of its own.
    pub(super) fn namesakes(
        &self,
        count: usize,
        change: impl Fn(&mut CertificateParams),
    ) -> Vec<CertificateDer<'static>> {
        let namesake = |_| {
            let mut params = authority(&format!("root of {}", self.trust_domain));
            change(&mut params);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        (0..count).map(namesake).collect()
    }

    /// The list with which this authority takes certificates back.
    pub(super) fn revoke(&self, certificates: &[&CertificateDer<'static>]) -> CertificateRevocationList {
        revocation_list(&self.issuer, certificates.iter().copied())
    }

    pub(super) fn credentials(&self, name: &str) -> Credentials {
        self.leaf(name).credentials(&self.bundle())
    }
}

impl Leaf {
    pub(super) fn credentials(self, bundle: &TrustBundle) -> Credentials {
        self.preferring(Suites::default(), bundle)
    }

    pub(super) fn preferring(self, suites: Suites, bundle: &TrustBundle) -> Credentials {
        Credentials::new(self.chain, self.key, bundle, suites).unwrap()
    }
}

pub(super) fn uris(names: &[&str]) -> Vec<SanType> {
    names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    assert!(!key.der_bytes().is_empty());
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}
