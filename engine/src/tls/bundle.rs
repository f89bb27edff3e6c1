//! The roots we trust, per trust domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};
use thiserror::Error;

use crate::mesh::TrustDomain;

/// Root certificates per trust domain: our own, and those we are federated with. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustBundle {
    domains: BTreeMap<TrustDomain, Arc<Roots>>,
}

#[derive(Debug)]
struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why roots can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    #[error("the bundle of trust domain `{trust_domain}` holds no root certificate: see who hands it out")]
    Empty { trust_domain: TrustDomain },
    #[error(
        "root certificate {position} of trust domain `{trust_domain}` can't be read ({cause}): see who hands out the bundle"
    )]
    Unreadable { trust_domain: TrustDomain, position: usize, cause: String },
}

// === impl TrustBundle ===

impl TrustBundle {
    /// Takes `certificates` as the roots of `trust_domain`, instead of those it had.
    pub fn insert(
        &mut self,
        trust_domain: TrustDomain,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<(), BundleError> {
        if certificates.is_empty() {
            return Err(BundleError::Empty { trust_domain });
        }
        let anchor = |(position, certificate)| match webpki::anchor_from_trusted_cert(certificate) {
            Ok(anchor) => Ok(anchor.to_owned()),
            Err(error) => Err(BundleError::Unreadable {
                trust_domain: trust_domain.clone(),
                position: position + 1,
                cause: error.to_string(),
            }),
        };
        let anchors = certificates.iter().enumerate().map(anchor).collect::<Result<_, _>>()?;
        self.domains.insert(trust_domain, Arc::new(Roots { certificates, anchors }));
        Ok(())
    }

    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.domains.keys()
    }

    /// The root certificates of a trust domain; none where it is not ours to trust.
    pub fn roots(&self, trust_domain: &TrustDomain) -> &[CertificateDer<'static>] {
        self.domains.get(trust_domain).map_or(&[], |roots| &roots.certificates)
    }

    /// The same, as the verifier needs them.
    pub(super) fn anchors(&self, trust_domain: &TrustDomain) -> Option<&[TrustAnchor<'static>]> {
        self.domains.get(trust_domain).map(|roots| &roots.anchors[..])
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.domains
            .iter()
            .map(|(name, roots)| (name, &roots.certificates))
            .eq(other.domains.iter().map(|(name, roots)| (name, &roots.certificates)))
    }
}

impl Eq for TrustBundle {}
