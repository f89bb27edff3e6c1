//! The source at work, between a test that is the agent and a test that is the reconciler.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::mesh::{Holder, Identity, TrustDomain};
use engine::tls::{Credentials, Suites};
use proto::spire::SubscribeToX509BundlesResponse;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Channels, Spire};
use super::agent::{self, BundleCall, Opened, Pods, SvidCall};
use super::authority::Authority;
use crate::certificates::{CERTIFICATE_EVENTS_MAX, CertificateEvent, Wants};
use crate::environment::{Attestation, SpireSettings};
use crate::status::Status;

pub(super) const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
pub(super) const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Longer than everything that is waited for; in the clock of the test it costs nothing.
const LONG: Duration = Duration::from_secs(3_600);

pub(super) struct Scene {
    pub(super) wants: watch::Sender<Wants>,
    pub(super) events: mpsc::Receiver<CertificateEvent>,
    pub(super) opened: Opened,
    pub(super) pods: Pods,
    pub(super) status: Status,
    pub(super) authority: Authority,
    source: JoinHandle<()>,
}

impl Scene {
    /// Attestation by selectors.
    pub(super) fn selectors(federated: &[&str]) -> Self {
        Self::new(Attestation::Selectors, federated)
    }

    /// Attestation by process.
    pub(super) fn processes() -> Self {
        Self::new(Attestation::Pid { runtime_socket: "/run/cri.sock".into() }, &[])
    }

    fn new(attestation: Attestation, federated: &[&str]) -> Self {
        let (agent, opened) = agent::agent();
        let pods = Pods::default();
        let runtime = matches!(attestation, Attestation::Pid { .. }).then(|| agent::runtime(&pods));
        let settings = SpireSettings {
            admin_socket: "/run/admin.sock".into(),
            attestation,
            timeout: Duration::from_secs(10),
            federated: federated.iter().map(|name| TrustDomain::new(name)).collect(),
        };
        let status = Status::default();
        let spire =
            Spire::new(settings, TrustDomain::new("cluster.local"), Suites::default(), status.clone());
        let (wants, wanted) = watch::channel(Wants::new());
        let (told, events) = mpsc::channel(CERTIFICATE_EVENTS_MAX);
        let source =
            tokio::spawn(
                async move { match spire.run_over(Channels { agent, runtime }, wanted, told).await {} },
            );
        Self { wants, events, opened, pods, status, authority: Authority::new(), source }
    }

    /// Wants certificates of identities, each for one pod whose uid is its service account.
    pub(super) fn want(&self, identities: &[&str]) {
        let wants = identities.iter().map(|identity| {
            let identity: Identity = identity.parse().unwrap();
            let pods = BTreeSet::from([Arc::clone(&identity.service_account)]);
            (identity, pods)
        });
        self.wants.send_replace(wants.collect());
    }

    /// The next stream of SVIDs that is opened.
    pub(super) async fn svid_stream(&mut self) -> SvidCall {
        timeout(LONG, self.opened.svids.recv()).await.expect("no stream of SVIDs is opened").unwrap()
    }

    /// The next stream of roots that is opened.
    pub(super) async fn bundle_stream(&mut self) -> BundleCall {
        timeout(LONG, self.opened.bundles.recv()).await.expect("no stream of roots is opened").unwrap()
    }

    /// The same, with the root of our authority sent.
    pub(super) async fn rooted_bundle_stream(&mut self) -> BundleCall {
        let stream = self.bundle_stream().await;
        stream.answers.send(Ok(self.roots())).unwrap();
        stream
    }

    /// The message with the root of our authority.
    pub(super) fn roots(&self) -> SubscribeToX509BundlesResponse {
        roots(&[&self.authority])
    }

    pub(super) async fn obtained(&mut self) -> (Holder, Arc<Credentials>) {
        match self.event().await {
            CertificateEvent::Obtained { holder, credentials } => (holder, credentials),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn failed(&mut self) -> String {
        match self.event().await {
            CertificateEvent::Failed { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn withdrawn(&mut self) -> String {
        match self.event().await {
            CertificateEvent::Withdrawn { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    async fn event(&mut self) -> CertificateEvent {
        timeout(LONG, self.events.recv()).await.expect("nothing is told").unwrap()
    }

    /// Nothing is told for so long.
    pub(super) async fn expect_silence(&mut self, seconds: u64) {
        let told = timeout(Duration::from_secs(seconds), self.events.recv()).await;
        assert!(told.is_err(), "{told:?}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.source.abort();
    }
}

/// The message with the roots of these, as those of our trust domain.
pub(super) fn roots(authorities: &[&Authority]) -> SubscribeToX509BundlesResponse {
    let roots = authorities.iter().flat_map(|authority| authority.root.clone()).collect();
    let ca_certificates = [("spiffe://cluster.local".to_owned(), roots)].into();
    SubscribeToX509BundlesResponse { ca_certificates }
}
