//! Certificates of the embedded authority: signed on the spot, renewed at half of their life.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use engine::mesh::Identity;
use engine::tls::Suites;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::renewals::Renewals;
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
        let answer = self.authority.issue(&identity, self.ttl, self.suites);
        CertificateEvent::of(identity, answer, &mut self.renewals, now)
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
