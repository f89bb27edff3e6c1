//! An SVID as it came from the agent, and which of several is ours.

use std::fmt;
use std::mem::take;

use engine::mesh::Identity;
use engine::tls::{Credentials, Suites, TrustBundle};
use proto::spire::{Spiffeid, SubscribeToX509sviDsResponse, X509svidWithKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::super::check_length;

/// A certificate with its chain and its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Svid {
    /// Leaf first.
    chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    key: Zeroizing<Vec<u8>>,
}

/// The SVID of exactly this identity. An agent sends all that match the workload, in no meaningful order; the error
/// says what came instead.
pub(super) fn pick(message: SubscribeToX509sviDsResponse, identity: &Identity) -> Result<Svid, String> {
    // Every key becomes one of ours here, so that those that are not used are wiped too.
    let svids: Vec<(String, Svid)> = message.x509_svids.into_iter().map(named).collect();
    if svids.is_empty() {
        return Err(format!(
            "SPIRE's agent has no registration entry for `{identity}` that matches: create one for its namespace and \
             service account, with the proxy's own SPIFFE ID as its parent"
        ));
    }
    let name = identity.to_string();
    let (ours, others): (Vec<_>, Vec<_>) = svids.into_iter().partition(|(id, _)| *id == name);
    if let Some((_, svid)) = ours.into_iter().next() {
        return Ok(svid);
    }
    Err(mismatch(identity, others.iter().map(|(id, _)| id.as_str())))
}

fn named(svid: X509svidWithKey) -> (String, Svid) {
    let X509svidWithKey { x509_svid, x509_svid_key } = svid;
    let key = Zeroizing::new(x509_svid_key);
    let mut svid = x509_svid.unwrap_or_default();
    let chain = take(&mut svid.cert_chain).into_iter().map(CertificateDer::from).collect();
    let Spiffeid { trust_domain, path } = svid.id.unwrap_or_default();
    (format!("spiffe://{trust_domain}{path}"), Svid { chain, key })
}

fn mismatch<'n>(identity: &Identity, came: impl Iterator<Item = &'n str>) -> String {
    let came: Vec<String> = came.map(|name| format!("`{name}`")).collect();
    let path = format!("/ns/{}/sa/{}`", identity.namespace, identity.service_account);
    let advice = if came.iter().any(|name| name.ends_with(&path)) {
        "the trust domain is another one: set TRUST_DOMAIN to that of SPIRE"
    } else {
        "see the selectors of both registration entries"
    };
    format!("SPIRE's agent gave {} and not `{identity}`: {advice}", came.join(", "))
}

// === impl Svid ===

impl Svid {
    /// What a workload with this SVID proves its identity with, under these roots.
    pub(super) fn credentials(
        &self,
        identity: &Identity,
        bundle: &TrustBundle,
        suites: Suites,
    ) -> Result<Credentials, String> {
        check_length(&self.chain).map_err(|cause| format!("SPIRE gives what cannot be used: {cause}"))?;
        // `Credentials` wipes the copy that it is given.
        let key = PrivateKeyDer::Pkcs8(self.key.to_vec().into());
        let credentials =
            Credentials::new(self.chain.clone(), key, bundle, suites).map_err(|error| error.to_string())?;
        if credentials.identity != *identity {
            return Err(format!(
                "the SVID is said to be of `{identity}`, and its certificate names `{}`: see SPIRE's server",
                credentials.identity
            ));
        }
        Ok(credentials)
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}
