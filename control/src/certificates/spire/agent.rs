//! SPIRE's agent: the two streams it is asked for, opened a few at a time and within a time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::spire::delegated_identity_client::DelegatedIdentityClient;
use proto::spire::{
    SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse, SubscribeToX509sviDsRequest,
    SubscribeToX509sviDsResponse,
};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::refusal;
use crate::certificates::renewals::entropy;

/// Streams that wait for their first message at the same time. An agent that gets 800 calls in one burst hangs for
/// good; 256 at a time were seen to do no harm.
const OPENING_STREAMS_MAX: usize = 32;

/// The first pause before a stream that broke is opened again: an agent that restarts needs a moment.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(500);

/// A stream of SVIDs waits up to so long before it is opened: all pods of a node come together, and a burst is what an
/// agent hangs at. A pod does not notice it.
pub(super) const OPENING_PAUSE_MILLIS_MAX: u64 = 100;

/// The largest message that is read, in bytes: the roots of a thousand trust domains are less.
const AGENT_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Speaks to SPIRE's agent. Clones share the connection and the turns to open streams.
#[derive(Clone)]
pub(super) struct Agent {
    client: DelegatedIdentityClient<Channel>,
    opening: Arc<Semaphore>,
    timeout: Duration,
    socket: Arc<str>,
}

/// A stream with its first message.
pub(super) struct Begun<T> {
    pub(super) first: T,
    pub(super) stream: Streaming<T>,
}

// === impl Agent ===

impl Agent {
    pub(super) fn new(channel: Channel, socket: &Path, timeout: Duration) -> Self {
        let client = DelegatedIdentityClient::new(channel).max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX);
        let opening = Arc::new(Semaphore::new(OPENING_STREAMS_MAX));
        Self { client, opening, timeout, socket: socket.display().to_string().into() }
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// The SVIDs of one workload, now and whenever they change.
    pub(super) async fn svids(
        &self,
        request: SubscribeToX509sviDsRequest,
    ) -> Result<Begun<SubscribeToX509sviDsResponse>, String> {
        let mut client = self.client.clone();
        let call = async move {
            sleep(Duration::from_millis(entropy() % OPENING_PAUSE_MILLIS_MAX)).await;
            client.subscribe_to_x509svi_ds(request).await
        };
        self.begin(call).await
    }

    /// The roots, now and whenever they change.
    pub(super) async fn bundles(&self) -> Result<Begun<SubscribeToX509BundlesResponse>, String> {
        self.begin(self.client.clone().subscribe_to_x509_bundles(SubscribeToX509BundlesRequest {})).await
    }

    /// Waits for a turn, then for the first message. What comes later on a stream has no deadline: silence is what a
    /// stream without news sounds like.
    async fn begin<T>(
        &self,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Result<Begun<T>, String> {
        let _turn = self.opening.acquire().await.expect("invariant: the semaphore is never closed");
        let begun = async {
            let mut stream = call.await?.into_inner();
            Ok((stream.message().await?, stream))
        };
        match timeout(self.timeout, begun).await {
            Ok(Ok((Some(first), stream))) => Ok(Begun { first, stream }),
            Ok(Ok((None, _))) => Err(self.ended(Ok(()))),
            Ok(Err(status)) => Err(self.ended(Err(status))),
            Err(_) => Err(refusal::silent_agent(&self.socket, self.timeout)),
        }
    }

    /// What the end of a stream means.
    pub(super) fn ended(&self, end: Result<(), Status>) -> String {
        match end {
            Ok(()) => format!("SPIRE's agent at {} ended the stream; it is opened again", self.socket),
            Err(status) => refusal::of_agent(&status, &self.socket),
        }
    }
}
