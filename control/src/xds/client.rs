//! One stream to the server at a time, opened again when it ends, for ever.
//!
//! Exactly one: Cilium's agent shares its events among all the streams that are open (contract 2.4). What was said
//! stays in force while there is none.

use std::convert::Infallible;
use std::future::pending;
use std::mem::take;
use std::time::Duration;

use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, IntoStreamingRequest, Status as CallStatus, Streaming};
use tracing::{debug, info, warn};

use super::codec::{Piecewise, Received};
use super::session::{Kind, Refusals, Session, answer};
use crate::backoff::Backoff;
use crate::channel::{Dialer, MESSAGE_BYTES_MAX, explain};
use crate::reconciler::MeshUpdate;
use crate::status::{Plane, Status};
use crate::turns::Turns;
use crate::waits::told;

/// Delta xDS.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Resources that are read and handed over at a time: a millisecond's work, after which others get their turn.
const RESOURCES_PER_UPDATE_MAX: usize = 512;

/// How long a stream that was told to end is listened to: what the server had on its way is not lost.
const LAST_WORDS_SECONDS_MAX: u64 = 2;

/// Answers that the server has not taken yet. One that lets so many lie does not read.
const ANSWERS_MAX: usize = 256;

/// A stream that lived so long was no failure. One that is cut sooner each time, as by a server that fails at what we
/// ask, is opened less and less often.
const STEADY_SECONDS: u64 = 10;

/// The client of an xDS server.
pub(crate) struct XdsClient {
    dialer: Dialer,
    node: Node,
    session: Session,
    updates: mpsc::Sender<MeshUpdate>,
    status: Status,
    backoff: Backoff,
    /// What was last logged about the connection.
    logged: String,
}

/// How a stream ended.
#[derive(Debug)]
struct Ended {
    /// As the contract's metric calls it.
    reason: &'static str,
    /// None if we were told to end it.
    error: Option<String>,
}

impl XdsClient {
    pub(super) fn new(
        dialer: Dialer,
        node: Node,
        session: Session,
        updates: mpsc::Sender<MeshUpdate>,
        status: Status,
    ) -> Self {
        let (backoff, logged) = (Backoff::default(), String::new());
        Self { dialer, node, session, updates, status, backoff, logged }
    }

    /// Follows the server. At each word of `reopen` the stream is opened anew: another process that shared it is gone.
    pub(crate) async fn run(mut self, mut reopen: watch::Receiver<()>) -> Infallible {
        loop {
            let began = Instant::now();
            let ended = match self.stream(&mut reopen).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            self.tell_end(&ended);
            if began.elapsed() >= Duration::from_secs(STEADY_SECONDS) {
                self.backoff.reset();
            }
            if ended.error.is_some() {
                sleep(self.backoff.next()).await;
            }
        }
    }

    /// One stream, from its beginning to its end.
    async fn stream(&mut self, reopen: &mut watch::Receiver<()>) -> Result<Infallible, Ended> {
        let (answers, requests) = mpsc::channel(ANSWERS_MAX);
        let mut responses = tokio::select! {
            opened = self.open(&answers, requests) => opened?,
            () = told(reopen) => return Err(Ended::told()),
        };
        let address = self.dialer.address();
        info!(address, "the xDS stream is open");
        self.status.connected(Plane::Xds, &address);
        self.logged.clear();
        loop {
            let next = tokio::select! {
                next = responses.message() => next,
                () = told(reopen) => {
                    drop(answers);
                    self.hear_out(responses).await;
                    return Err(Ended::told());
                }
            };
            let response = next.map_err(|status| Ended::of(&status))?.ok_or_else(Ended::complete)?;
            let answer = self.take(response).await;
            answers.try_send(answer).map_err(|_| Ended::unread())?;
        }
    }

    /// The end of a stream on which we have said our last. A server that shares its events among its streams gives this
    /// one none once it has ended (contract 2.4): the next one is not opened before.
    async fn hear_out(&mut self, mut responses: Streaming<Received>) {
        let end = Instant::now() + Duration::from_secs(LAST_WORDS_SECONDS_MAX);
        // What has come is taken as a whole, however long that lasts.
        while let Ok(Ok(Some(response))) = timeout_at(end, responses.message()).await {
            self.take(response).await;
        }
    }

    /// The requests wait in the stream when it is opened: a server may send nothing before it has read them.
    async fn open(
        &mut self,
        answers: &mpsc::Sender<DeltaDiscoveryRequest>,
        requests: mpsc::Receiver<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<Received>, Ended> {
        let address = self.dialer.address();
        self.status.begun(Plane::Xds, &address, "connecting");
        let channel = self.dialer.connect().await.map_err(|error| Ended::unconnected(error.to_string()))?;
        self.status.opening(Plane::Xds, &address, "connected, and waiting for the first answer");
        for request in self.session.begin(&self.node) {
            // There is room: the channel is new.
            answers.try_send(request).map_err(|_| Ended::unread())?;
        }
        let mut client = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        client.ready().await.map_err(|error| Ended::unconnected(error.to_string()))?;
        let requests = ReceiverStream::new(requests).into_streaming_request();
        let opened = client.streaming(requests, PathAndQuery::from_static(METHOD), Piecewise).await;
        opened.map(tonic::Response::into_inner).map_err(|status| Ended::of(&status))
    }

    /// Hands over what a response says, in parts, and returns what answers it.
    async fn take(&mut self, received: Received) -> DeltaDiscoveryRequest {
        let Received { response, resources, bytes } = received;
        let DeltaDiscoveryResponse { type_url, nonce, removed_resources, .. } = response;
        let mut refusals = Refusals::default();
        let Some(kind) = Kind::of(&type_url) else {
            refusals.add(format!("{type_url} was not asked for"));
            self.tell_refusals(&refusals);
            return answer(type_url, nonce, &refusals);
        };
        self.status.update(|state| {
            let (messages, total) = state.xds_messages.entry(type_url.clone()).or_default();
            (*messages, *total) = (*messages + 1, *total + bytes);
        });
        let count: usize = resources.iter().map(Vec::len).sum();
        debug!(type_url, resources = count, removed = removed_resources.len(), "an xDS response");
        let (mut changes, mut turns) = (Vec::new(), Turns::begin());
        for (read, resource) in (1..).zip(resources.into_iter().flatten()) {
            if let Err(refusal) = self.session.upsert(kind, resource, &mut changes) {
                refusals.add(refusal);
            }
            turns.give();
            self.hand_over_part(read, &mut changes).await;
        }
        for (read, name) in (1..).zip(removed_resources) {
            self.session.remove(kind, &name, &mut changes);
            turns.give();
            self.hand_over_part(read, &mut changes).await;
        }
        let synced = self.session.answered(kind, &mut changes);
        self.hand_over(MeshUpdate { changes, synced, more: false }).await;
        self.tell_refusals(&refusals);
        answer(type_url, nonce, &refusals)
    }

    /// After so many resources, whatever came of them.
    async fn hand_over_part(&self, read: usize, changes: &mut Vec<engine::mesh::Change>) {
        if !read.is_multiple_of(RESOURCES_PER_UPDATE_MAX) {
            return;
        }
        if !changes.is_empty() {
            self.hand_over(MeshUpdate { changes: take(changes), synced: false, more: true }).await;
        }
        yield_now().await;
    }

    async fn hand_over(&self, update: MeshUpdate) {
        if self.updates.send(update).await.is_err() {
            // Nobody listens any more: this task is about to be dropped.
            pending::<()>().await;
        }
    }

    fn tell_refusals(&self, refusals: &Refusals) {
        let Some(text) = refusals.text() else { return };
        let told: String = text.chars().take(1_000).collect();
        warn!(refused = told, "the xDS server sends what cannot be used; it is told, and the rest is used");
        self.status.trouble(
            Plane::Xds,
            &self.dialer.address(),
            format!("the server sends what cannot be used: {told}"),
        );
    }

    fn tell_end(&mut self, ended: &Ended) {
        let Ended { reason, error } = ended;
        self.status.update(|state| *state.xds_terminations.entry(reason).or_default() += 1);
        let address = self.dialer.address();
        let Some(error) = error.clone() else {
            info!(address, "opening the xDS stream anew");
            return;
        };
        self.status.disconnected(Plane::Xds, &address, error.clone());
        if self.logged == error {
            debug!(reason, error, "no xDS stream");
            return;
        }
        warn!(address, reason, error, "no xDS stream; the mesh stays what it was");
        self.logged = error;
    }
}

// === impl Ended ===

impl Ended {
    fn told() -> Self {
        Self { reason: "Reconnect", error: None }
    }

    fn complete() -> Self {
        Self { reason: "Complete", error: Some("the server ended the stream".to_owned()) }
    }

    fn unconnected(error: String) -> Self {
        Self { reason: "ConnectionError", error: Some(error) }
    }

    fn unread() -> Self {
        let error = format!("the server has not read {ANSWERS_MAX} answers of ours: see whether it hangs");
        Self { reason: "Error", error: Some(error) }
    }

    fn of(status: &CallStatus) -> Self {
        let reason = match status.code() {
            Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => "Reconnect",
            Code::Unavailable => "ConnectionError",
            _ => "Error",
        };
        Self { reason, error: Some(explain(status)) }
    }
}
