//! Certificates of the embedded authority: signed on the spot, renewed at half of their life.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::mesh::{Holder, Identity};
use engine::tls::Suites;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::renewals::{Renewals, entropy};
use super::{CertificateEvent, CertificateSource, Wants};
use crate::ca::Authority;
use crate::waits::until;

/// The embedded authority as a source.
pub(crate) struct Embedded {
    authority: Authority,
    ttl: Duration,
    suites: Suites,
    renewals: Renewals,
}

impl Embedded {
    pub(crate) fn new(authority: Authority, ttl: Duration, suites: Suites) -> Self {
        Self { authority, ttl, suites, renewals: Renewals::default() }
    }

    /// Issues what is due now.
    fn issue_due(&mut self, wants: &Wants) -> Vec<CertificateEvent> {
        let now = Instant::now();
        let wanted: BTreeSet<Identity> = wants.keys().cloned().collect();
        self.renewals.want(&wanted, now);
        self.renewals.due(now).into_iter().map(|identity| self.issue(identity, now)).collect()
    }

    fn issue(&mut self, identity: Identity, now: Instant) -> CertificateEvent {
        let holder = Holder { identity: identity.clone(), pod: None };
        match self.authority.issue(&identity, self.ttl, self.suites) {
            Ok(credentials) => {
                let left = credentials.not_after.duration_since(SystemTime::now()).unwrap_or_default();
                self.renewals.issued(&identity, left, now, entropy());
                CertificateEvent::Obtained { holder, credentials: Arc::new(credentials) }
            }
            Err(error) => {
                self.renewals.failed(&identity, now, entropy());
                CertificateEvent::Failed { holder, cause: error.to_string() }
            }
        }
    }
}

impl CertificateSource for Embedded {
    async fn run(
        mut self,
        mut wants: watch::Receiver<Wants>,
        events: mpsc::Sender<CertificateEvent>,
    ) -> Infallible {
        loop {
            let wanted = wants.borrow_and_update().clone();
            for event in self.issue_due(&wanted) {
                // Nobody listens any more: this task is about to be dropped.
                let _ = events.send(event).await;
            }
            tokio::select! {
                changed = wants.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = until(self.renewals.next()) => {}
            }
        }
    }
}
