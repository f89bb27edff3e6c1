//! What one holder has: the SVID in use, and one that is not good enough yet. Decisions without clock or I/O.

use std::sync::Arc;
use std::time::SystemTime;

use engine::mesh::Identity;
use engine::tls::{Credentials, Suites, TrustBundle};

use super::svid::Svid;

#[derive(Debug)]
pub(super) struct Held {
    suites: Suites,
    /// The last that came, while no peer would believe it.
    offered: Option<Svid>,
    used: Option<Used>,
}

#[derive(Debug)]
struct Used {
    svid: Svid,
    credentials: Arc<Credentials>,
}

/// What to do after something changed.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// To be used from now on.
    pub(super) credentials: Option<Arc<Credentials>>,
    /// Why what came is not used.
    pub(super) refused: Option<String>,
}

// === impl Held ===

impl Held {
    pub(super) fn new(suites: Suites) -> Self {
        Self { suites, offered: None, used: None }
    }

    /// An SVID came. One that is in use already is no news.
    pub(super) fn offer(&mut self, svid: Svid) {
        let known = self.used.as_ref().is_some_and(|used| used.svid == svid);
        self.offered = (!known).then_some(svid);
    }

    /// Nothing is left; true if something was in use.
    pub(super) fn withdraw(&mut self) -> bool {
        self.offered = None;
        self.used.take().is_some()
    }

    /// Something came that is not used.
    pub(super) fn has_offer(&self) -> bool {
        self.offered.is_some()
    }

    /// Neither in use nor offered.
    pub(super) fn is_empty(&self) -> bool {
        self.offered.is_none() && self.used.is_none()
    }

    /// Decides anew under these roots. What was offered is used as soon as peers would believe it: it may have come
    /// before its root, before its time, or expired. Changed roots count at once even where our own SVID is not
    /// believed under them any more: whom they leave out shall not be believed either.
    pub(super) fn settle(&mut self, identity: &Identity, bundle: &TrustBundle, now: SystemTime) -> Verdict {
        let mut verdict = Verdict::default();
        match self.offered.as_ref().map(|svid| believed(svid, identity, bundle, self.suites, now)) {
            Some(Ok(credentials)) => {
                let svid = self.offered.take().expect("invariant: it was just looked at");
                verdict.credentials = Some(self.using(svid, credentials));
                return verdict;
            }
            Some(Err(cause)) => verdict.refused = Some(cause),
            None => {}
        }
        let Some(used) = self.used.as_mut().filter(|used| used.credentials.bundle() != bundle) else {
            return verdict;
        };
        match used.svid.credentials(identity, bundle, self.suites) {
            Ok(credentials) => {
                if let Err(fault) = credentials.verify(now) {
                    verdict.refused =
                        Some(format!("the certificate in use is not believed any more: {fault}"));
                }
                used.credentials = Arc::new(credentials);
                verdict.credentials = Some(Arc::clone(&used.credentials));
            }
            Err(cause) => verdict.refused = Some(cause),
        }
        verdict
    }

    /// What is in use.
    pub(super) fn credentials(&self) -> Option<Arc<Credentials>> {
        self.used.as_ref().map(|used| Arc::clone(&used.credentials))
    }

    /// Why there should be a newer one by now. SPIRE renews at half of a certificate's life.
    pub(super) fn overdue(&self, now: SystemTime) -> Option<String> {
        let credentials = &self.used.as_ref()?.credentials;
        let life = credentials.not_after.duration_since(credentials.not_before).unwrap_or_default();
        let left = credentials.not_after.duration_since(now).unwrap_or_default();
        (left < life / 4).then(|| {
            let seconds = left.as_secs();
            format!("SPIRE has not renewed it, with {seconds} s left: see the logs of spire-agent and spire-server")
        })
    }

    fn using(&mut self, svid: Svid, credentials: Credentials) -> Arc<Credentials> {
        let credentials = Arc::new(credentials);
        self.used = Some(Used { svid, credentials: Arc::clone(&credentials) });
        credentials
    }
}

/// The credentials, if a peer with the same roots would believe them.
fn believed(
    svid: &Svid,
    identity: &Identity,
    bundle: &TrustBundle,
    suites: Suites,
    now: SystemTime,
) -> Result<Credentials, String> {
    let credentials = svid.credentials(identity, bundle, suites)?;
    credentials.verify(now).map_err(|fault| format!("the SVID that came is not used: {fault}"))?;
    Ok(credentials)
}
