//! Certificates from SPIRE: SVIDs of the pods of this node, by the Delegated Identity API of SPIRE's agent.
//!
//! ```text
//!   agent ─── bundle stream, one ─────────▶ roots ────────┐
//!         ─── SVID stream, one a holder ──▶ subscription ─┴─▶ credentials, again at every change of either
//!   container runtime ── process of a pod ──▲ (attestation by process only)
//! ```
//!
//! Streams stay open: a rotation is used the moment it is pushed, and whatever breaks is opened anew while the
//! certificates in use stay in use. All streams share one connection. Nothing is asked of an agent before its roots
//! came, so that one that is away is knocked at by one, not by every pod.

mod agent;
mod channel;
mod held;
mod refusal;
mod roots;
mod runtime;
mod subscription;
mod svid;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use engine::mesh::{Holder, TrustDomain};
use engine::tls::Suites;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tonic::transport::Channel;

use super::{CertificateEvent, CertificateSource, Wants};
use crate::environment::{Attestation, SpireSettings};
use crate::status::Status;
use crate::waits::pass_on;
use agent::Agent;
use roots::{Roots, RootsFeed};
use runtime::Runtime;
use subscription::Subscription;

/// SPIRE's agent as a source.
pub(crate) struct Spire {
    settings: SpireSettings,
    /// Ours; its roots have to be among those the agent hands out.
    trust_domain: TrustDomain,
    suites: Suites,
    status: Status,
}

/// Whom we speak to.
struct Channels {
    agent: Channel,
    /// With attestation by process.
    runtime: Option<Channel>,
}

// === impl Spire ===

impl Spire {
    pub(crate) fn new(
        settings: SpireSettings,
        trust_domain: TrustDomain,
        suites: Suites,
        status: Status,
    ) -> Self {
        Self { settings, trust_domain, suites, status }
    }

    fn channels(&self) -> Channels {
        let timeout = self.settings.timeout;
        let runtime = match &self.settings.attestation {
            Attestation::Pid { runtime_socket } => Some(channel::unix(runtime_socket, timeout)),
            Attestation::Selectors => None,
        };
        Channels { agent: channel::unix(&self.settings.admin_socket, timeout), runtime }
    }

    fn runtime(&self, channel: Option<Channel>) -> Option<Runtime> {
        let Attestation::Pid { runtime_socket } = &self.settings.attestation else { return None };
        Some(Runtime::new(channel?, runtime_socket, self.settings.timeout, self.status.clone()))
    }

    async fn run_over(
        self,
        channels: Channels,
        mut wants: watch::Receiver<Wants>,
        events: mpsc::Sender<CertificateEvent>,
    ) -> Infallible {
        let agent = Agent::new(channels.agent, &self.settings.admin_socket, self.settings.timeout);
        let runtime = self.runtime(channels.runtime);
        let (told, roots) = watch::channel(Roots::default());
        let mut tasks = JoinSet::new();
        let feed = RootsFeed {
            agent: agent.clone(),
            own: self.trust_domain,
            federated: self.settings.federated,
            roots: told,
            status: self.status,
        };
        tasks.spawn(feed.follow());
        let mut subscribed: BTreeMap<Holder, AbortHandle> = BTreeMap::new();
        loop {
            let wanted = holders(&wants.borrow_and_update(), runtime.is_some());
            subscribed.retain(|holder, task| wanted.contains(holder) || end(task));
            for holder in wanted {
                subscribed.entry(holder).or_insert_with_key(|holder| {
                    let (agent, runtime) = (agent.clone(), runtime.clone());
                    let (roots, events) = (roots.clone(), events.clone());
                    let of_holder =
                        Subscription::new(holder.clone(), agent, runtime, roots, events, self.suites);
                    tasks.spawn(of_holder.run())
                });
            }
            tokio::select! {
                changed = wants.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                Some(ended) = tasks.join_next() => pass_on(ended),
            }
        }
    }
}

impl CertificateSource for Spire {
    async fn run(self, wants: watch::Receiver<Wants>, events: mpsc::Sender<CertificateEvent>) -> Infallible {
        let channels = self.channels();
        self.run_over(channels, wants, events).await
    }
}

/// Who gets a certificate of its own: each pod where a process of it is attested, otherwise each identity.
fn holders(wants: &Wants, of_pods: bool) -> BTreeSet<Holder> {
    let holder = |identity: &_, pod| Holder { identity: Clone::clone(identity), pod };
    let of_identity = |(identity, pods): (&_, &BTreeSet<Arc<str>>)| -> Vec<Holder> {
        if of_pods {
            pods.iter().map(|pod| holder(identity, Some(Arc::clone(pod)))).collect()
        } else {
            vec![holder(identity, None)]
        }
    };
    wants.iter().flat_map(of_identity).collect()
}

/// Ends a task that is not needed any more; false, for who keeps the list.
fn end(task: &AbortHandle) -> bool {
    task.abort();
    false
}
