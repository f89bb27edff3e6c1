//! Issues SVIDs as SPIRE's server does.

use std::time::{Duration, SystemTime};

use proto::spire::{Spiffeid, SubscribeToX509sviDsResponse, X509svid, X509svidWithKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root: Vec<u8>,
}

/// When an SVID counts.
#[derive(Clone, Copy)]
pub(super) enum Validity {
    Now,
    Expired,
    /// For the last sixth of its life.
    Ending,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), root }
    }

    pub(super) fn svid(&self, id: &str) -> X509svidWithKey {
        self.svid_that_is(id, Validity::Now)
    }

    pub(super) fn svid_that_is(&self, id: &str, validity: Validity) -> X509svidWithKey {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::now();
        let (from, to) = match validity {
            Validity::Now => (now - hour, now + 3 * hour),
            Validity::Expired => (now - 2 * hour, now - hour),
            Validity::Ending => (now - 5 * hour, now + hour),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (trust_domain, path) = id.strip_prefix("spiffe://").unwrap().split_once('/').unwrap();
        let id = Spiffeid { trust_domain: trust_domain.to_owned(), path: format!("/{path}") };
        let svid =
            X509svid { cert_chain: vec![certificate.der().to_vec()], id: Some(id), ..Default::default() };
        X509svidWithKey { x509_svid: Some(svid), x509_svid_key: key.serialize_der() }
    }
}

/// A message with these SVIDs.
pub(super) fn message(svids: Vec<X509svidWithKey>) -> SubscribeToX509sviDsResponse {
    SubscribeToX509sviDsResponse { x509_svids: svids, federates_with: Vec::new() }
}
