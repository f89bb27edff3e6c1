//! Certificates of an authority that takes signing requests, as Istio's and Cilium's do (contract 2.10).
//!
//! A key never leaves this process: it is made here, and the request is signed with it. The answer is checked before
//! anybody uses it: a certificate that no peer would take is none. A few requests are under way at a time, each for so
//! long at most; what fails is asked for again, less and less often.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::panic::resume_unwind;
use std::time::Duration;

use engine::mesh::Identity;
use engine::tls::{Credentials, Suites};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use proto::ca::IstioCertificateRequest;
use proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::renewals::Renewals;
use super::signing::{self, SigningError, SigningKey};
use super::{CertificateEvent, CertificateSource, Wants};
use crate::channel::{Called, Dialer, HeaderError, explain};
use crate::environment::{IstioCaSettings, Root};
use crate::local::Watched;
use crate::status::{Plane, Status};
use crate::waits::until;

/// Requests under way at a time (ztunnel contract 1.5).
const REQUESTS_MAX: usize = 8;

/// How long one may take, connecting included: Cilium's agent leaves one unanswered while it waits for something else.
const REQUEST_SECONDS_MAX: u64 = 10;

/// The largest answer that is read: a chain that peers take, with hundreds of roots, is less.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The authority as a source.
pub(crate) struct IstioCa {
    dialer: Dialer,
    channel: Called,
    /// Whose change means another server, or another key of it.
    root: Option<Watched>,
    ttl: Duration,
    on_behalf: bool,
    suites: Suites,
    renewals: Renewals,
    under_way: JoinSet<(Identity, Result<Credentials, SigningError>)>,
    status: Status,
}

impl IstioCa {
    pub(crate) fn new(
        settings: &IstioCaSettings,
        cluster_id: &str,
        suites: Suites,
        status: Status,
    ) -> Result<Self, HeaderError> {
        let dialer = Dialer::new(settings.channel.clone(), cluster_id)?;
        let root = match &settings.channel.root {
            Root::File(path) if dialer.is_tls() => Some(Watched::new(path)),
            Root::File(_) | Root::Pem(_) => None,
        };
        Ok(Self {
            channel: dialer.lazy(),
            dialer,
            root,
            ttl: settings.ttl,
            on_behalf: settings.on_behalf,
            suites,
            renewals: Renewals::default(),
            under_way: JoinSet::new(),
            status,
        })
    }

    /// Asks for what is due, as far as there is room.
    fn ask_due(&mut self, wants: &Wants) {
        let now = Instant::now();
        let wanted: BTreeSet<Identity> = wants.keys().cloned().collect();
        self.renewals.want(&wanted, now);
        for identity in self.renewals.due(now) {
            if self.under_way.len() >= REQUESTS_MAX {
                return;
            }
            let address = self.dialer.address();
            self.status.begun(Plane::Certificates, &address, "waiting for the first certificate");
            self.renewals.asked(&identity, now + 2 * Duration::from_secs(REQUEST_SECONDS_MAX));
            let metadata = self.on_behalf.then(|| impersonated(&identity));
            let (channel, ttl, suites) = (self.channel.clone(), self.ttl, self.suites);
            self.under_way.spawn(async move {
                let answer = request(channel, &identity, metadata, ttl, suites).await;
                (identity, answer)
            });
        }
    }

    fn take(&mut self, identity: Identity, answer: Result<Credentials, SigningError>) -> CertificateEvent {
        let now = Instant::now();
        self.tell(answer.as_ref().err());
        CertificateEvent::of(identity, answer, &mut self.renewals, now)
    }

    /// A refusal is an answer: the authority is there.
    fn tell(&self, error: Option<&SigningError>) {
        let address = self.dialer.address();
        match error {
            None => self.status.answered(Plane::Certificates, &address),
            Some(error @ (SigningError::Call { .. } | SigningError::Late)) => {
                self.status.disconnected(Plane::Certificates, &address, error.to_string());
            }
            Some(error) => self.status.trouble(Plane::Certificates, &address, error.to_string()),
        }
    }

    /// When to look again. With all requests under way nothing can be asked, whatever is due.
    fn next(&self) -> Option<Instant> {
        if self.under_way.len() < REQUESTS_MAX { self.renewals.next() } else { None }
    }
}

impl CertificateSource for IstioCa {
    async fn run(
        mut self,
        mut wants: watch::Receiver<Wants>,
        events: mpsc::Sender<CertificateEvent>,
    ) -> Infallible {
        let mut root_seen = false;
        loop {
            let wanted = wants.borrow_and_update().clone();
            self.ask_due(&wanted);
            let next = self.next();
            tokio::select! {
                changed = wants.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                Some(finished) = self.under_way.join_next() => match finished {
                    Ok((identity, answer)) => {
                        let event = self.take(identity, answer);
                        // Nobody listens any more: this task is about to be dropped.
                        let _ = events.send(event).await;
                    }
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                changed = root_changed(&mut self.root) => match changed {
                    // Each connection reads the root anew: the first look is no news.
                    Ok(_) if !std::mem::replace(&mut root_seen, true) => {}
                    Ok(_) => {
                        info!("the root of the certificate authority has changed: connecting anew");
                        self.channel = self.dialer.lazy();
                    }
                    Err(error) => warn!(%error, "the root of the certificate authority"),
                },
                () = until(next) => {}
            }
        }
    }
}

async fn root_changed(root: &mut Option<Watched>) -> Result<String, crate::local::WatchError> {
    match root {
        Some(root) => root.changed().await,
        None => pending().await,
    }
}

/// Makes a key, has it signed, and checks what comes back.
async fn request(
    channel: Called,
    identity: &Identity,
    metadata: Option<Struct>,
    ttl: Duration,
    suites: Suites,
) -> Result<Credentials, SigningError> {
    let key = SigningKey::generate()?;
    let request = IstioCertificateRequest {
        csr: key.request(identity)?,
        validity_duration: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
        metadata,
    };
    let mut client = IstioCertificateServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = timeout(Duration::from_secs(REQUEST_SECONDS_MAX), client.create_certificate(request)).await;
    let answer = answer.map_err(|_| SigningError::Late)?;
    let answer = answer.map_err(|status| SigningError::of(&status, explain(&status)))?.into_inner();
    signing::credentials(identity, key, &answer.cert_chain, suites)
}

/// On whose behalf a node proxy asks.
fn impersonated(identity: &Identity) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(identity.to_string())) };
    Struct { fields: [("ImpersonatedIdentity".to_owned(), value)].into() }
}

#[cfg(test)]
mod tests;
