//! The roots that SPIRE's agent hands out: one stream, for all pods of the node.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use engine::mesh::TrustDomain;
use engine::tls::TrustBundle;
use proto::spire::SubscribeToX509BundlesResponse;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::agent::{Agent, Begun, PAUSE_MIN};
use crate::backoff::{Backoff, spread};
use crate::status::{Plane, Status};

/// The longest pause before an agent that is away is looked for again.
const AGENT_PAUSE_SECONDS_MAX: u64 = 5;

/// How often the stream is opened anew where roots of other trust domains are taken over: an open one goes on naming a
/// trust domain that SPIRE is not federated with any more.
const REOPEN_SECONDS: u64 = 600;

/// What is known of the roots.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// The last that were good; they outlive the stream.
    pub(super) bundle: Option<TrustBundle>,
    /// The agent is there.
    pub(super) standing: bool,
    /// What is wrong with the agent or the roots.
    pub(super) trouble: Option<String>,
}

/// Follows the roots.
pub(super) struct RootsFeed {
    pub(super) agent: Agent,
    pub(super) own: TrustDomain,
    pub(super) federated: Vec<TrustDomain>,
    pub(super) roots: watch::Sender<Roots>,
    pub(super) status: Status,
}

// === impl RootsFeed ===

impl RootsFeed {
    pub(super) async fn follow(self) -> Infallible {
        let mut backoff = Backoff::between(PAUSE_MIN, Duration::from_secs(AGENT_PAUSE_SECONDS_MAX));
        self.status.begun(Plane::Certificates, self.agent.socket(), "waiting for the first roots");
        loop {
            let begun = Instant::now();
            let Err(cause) = self.follow_stream().await else { continue };
            self.lost(cause);
            sleep(backoff.next_after(begun.elapsed())).await;
        }
    }

    /// Follows one stream to its end: `Ok` when it is time to open it anew.
    async fn follow_stream(&self) -> Result<(), String> {
        let Begun { first, mut stream } = self.agent.bundles().await?;
        self.status.connected(Plane::Certificates, self.agent.socket());
        self.take(first);
        let renewed = sleep(spread(Duration::from_secs(REOPEN_SECONDS)));
        tokio::pin!(renewed);
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => return Err(self.agent.ended(Ok(()))),
                    Err(status) => return Err(self.agent.ended(Err(status))),
                },
                () = &mut renewed, if !self.federated.is_empty() => return Ok(()),
            }
        }
    }

    /// Roots that cannot be used change nothing but the status.
    fn take(&self, message: SubscribeToX509BundlesResponse) {
        let read = read(message, &self.own, &self.federated);
        self.roots.send_if_modified(|roots| {
            let was_standing = std::mem::replace(&mut roots.standing, true);
            match read {
                Ok(bundle) if roots.bundle.as_ref() == Some(&bundle) => {
                    roots.trouble.take().is_some() || !was_standing
                }
                Ok(bundle) => {
                    info!(roots = bundle.roots(&self.own).len(), trust_domain = %self.own, "the roots have changed");
                    (roots.bundle, roots.trouble) = (Some(bundle), None);
                    true
                }
                Err(cause) => {
                    warn!(error = cause, "the roots stay what they were");
                    roots.trouble = Some(cause);
                    true
                }
            }
        });
    }

    fn lost(&self, cause: String) {
        self.status.disconnected(Plane::Certificates, self.agent.socket(), cause.clone());
        self.roots.send_if_modified(|roots| {
            let news = roots.standing || roots.trouble.as_ref() != Some(&cause);
            if news {
                warn!(error = cause, "SPIRE's agent is away; certificates in use stay until they expire");
            }
            (roots.standing, roots.trouble) = (false, Some(cause));
            news
        });
    }
}

/// Our own roots and those of the trust domains that are taken over; others are left where they are.
fn read(
    message: SubscribeToX509BundlesResponse,
    own: &TrustDomain,
    federated: &[TrustDomain],
) -> Result<TrustBundle, String> {
    let bundles: HashMap<&str, &[u8]> = message
        .ca_certificates
        .iter()
        .map(|(name, der)| (name.strip_prefix("spiffe://").unwrap_or(name), &der[..]))
        .collect();
    let Some(roots) = bundles.get(own.as_str()) else {
        let came: Vec<String> = bundles.keys().map(|name| format!("`{name}`")).collect();
        return Err(format!(
            "SPIRE's agent hands out roots of {} and none of our trust domain `{own}`: set TRUST_DOMAIN to that of SPIRE",
            if came.is_empty() { "no trust domain".to_owned() } else { came.join(", ") }
        ));
    };
    let mut bundle = TrustBundle::default();
    bundle.insert(own.clone(), certificates(roots)?).map_err(|error| error.to_string())?;
    for other in federated {
        let Some(roots) = bundles.get(other.as_str()) else { continue };
        let inserted = certificates(roots)
            .and_then(|roots| bundle.insert(other.clone(), roots).map_err(|error| error.to_string()));
        if let Err(error) = inserted {
            warn!(trust_domain = %other, error, "the roots of a federated trust domain are left out");
        }
    }
    Ok(bundle)
}

/// Certificates that stand one after the other: each is a DER SEQUENCE that says how long it is (X.690 §8.1.3).
fn certificates(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let length = sequence_len(der).filter(|length| *length <= der.len());
        let length = length.ok_or("the roots that SPIRE's agent hands out are no certificates")?;
        let (certificate, rest) = der.split_at(length);
        found.push(CertificateDer::from(certificate.to_vec()));
        der = rest;
    }
    Ok(found)
}

/// Header and content of the SEQUENCE at the beginning.
fn sequence_len(der: &[u8]) -> Option<usize> {
    let (0x30, first) = (*der.first()?, usize::from(*der.get(1)?)) else { return None };
    if first < 0x80 {
        return Some(2 + first);
    }
    let digits = first & 0x7f;
    // Four bytes of length are more than any message holds.
    let digits = (1..=4).contains(&digits).then_some(der.get(2..2 + digits)?)?;
    let content = digits.iter().fold(0_usize, |value, digit| value << 8 | usize::from(*digit));
    Some(2 + digits.len() + content)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn root() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec()
    }

    fn message(bundles: &[(&str, Vec<u8>)]) -> SubscribeToX509BundlesResponse {
        let ca_certificates = bundles.iter().map(|(name, der)| ((*name).to_owned(), der.clone())).collect();
        SubscribeToX509BundlesResponse { ca_certificates }
    }

    #[test]
    fn only_our_own_roots_and_those_configured_are_taken() {
        let [own, other, third] = ["cluster.local", "other", "third"].map(TrustDomain::new);
        let [one, two] = [root(), root()];
        let both = [&one[..], &two[..]].concat();
        let message = message(&[
            ("spiffe://cluster.local", both),
            ("other", one.clone()),
            ("spiffe://third", two.clone()),
        ]);
        let bundle = read(message.clone(), &own, &[]).unwrap();
        assert_eq!(bundle.roots(&own), [CertificateDer::from(one.clone()), CertificateDer::from(two)]);
        assert_eq!(bundle.trust_domains().count(), 1);
        let bundle = read(message, &own, std::slice::from_ref(&other)).unwrap();
        assert_eq!(bundle.roots(&other), [CertificateDer::from(one)]);
        assert!(bundle.roots(&third).is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_refused_or_left_out() {
        let [own, other] = ["cluster.local", "other"].map(TrustDomain::new);
        let error = read(message(&[("spiffe://spire", root())]), &own, &[]).unwrap_err();
        assert!(error.contains("`spire`") && error.contains("`cluster.local`"), "{error}");
        let error = read(message(&[]), &own, &[]).unwrap_err();
        assert!(error.contains("no trust domain"), "{error}");
        for broken in
            [vec![], vec![0x30], vec![0x30, 0x85, 1, 1, 1, 1, 1], vec![0x30, 3, 1], vec![4, 0], vec![0x30, 0]]
        {
            let own_roots = [("spiffe://cluster.local", broken.clone())];
            assert!(read(message(&own_roots), &own, &[]).is_err(), "{broken:?}");
            let federated = [("spiffe://cluster.local", root()), ("spiffe://other", broken)];
            let bundle = read(message(&federated), &own, std::slice::from_ref(&other)).unwrap();
            assert!(bundle.roots(&other).is_empty());
        }
    }
}
