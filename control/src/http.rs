//! The little HTTP of the control thread: readiness, metrics, and what a person asks.
//!
//! One server for all of them, with bounds on everything a client can make grow: connections, the head of a request,
//! and the time until its answer begins. Answers are made by axum routers; they go on being given while the process
//! drains.

pub(crate) mod encoding;
mod listen;
pub(crate) mod stream;

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tower::{ServiceExt, service_fn};
use tracing::debug;

pub use listen::{BindError, Endpoint};
pub(crate) use listen::{is_shared, listener};

/// Connections of one listener that are served at a time: more wait in its queue. Kubelet, a Prometheus or two, and a
/// few people need a handful.
const HTTP_CONNECTIONS_MAX: usize = 32;

/// Of them those whose answer goes on for as long as somebody reads it: a few people who look on. They may stay for ever,
/// so they leave room for whoever asks what is wrong.
const HTTP_ENDLESS_MAX: usize = 8;

/// The longest request head that is read. Kubelet's is under 200 bytes, a browser's under 4 KiB.
const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a request's head may take, and how long a connection may lie idle between two requests.
const HTTP_HEAD_MS_MAX: u64 = 10_000;

/// How long an answer may take until it begins.
const HTTP_ANSWER_MS_MAX: u64 = 10_000;

/// The same where only this node can: a dump of tens of megabytes on its way to a person far away. Nothing of ours is
/// held any longer for a reader that stands.
const HTTP_LOCAL_CONNECTION_MS_MAX: u64 = 600_000;

/// How long a whole connection may last where everybody on the node's network can reach the listener: two scrapes of a
/// slow Prometheus.
const HTTP_CONNECTION_MS_MAX: u64 = 120_000;

/// The pause after an accept that failed.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Who can reach a listener, and so how far it is trusted with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Processes of this node only. Their answers may last, those without an end for ever.
    Loopback,
    /// Whoever can reach the node.
    Network,
}

/// Marks an answer (as an extension of it) that goes on for as long as somebody reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

/// With every request (as an extension of it): a handler that says so may take as long to begin its answer as the
/// connection may last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leisure(Arc<AtomicBool>);

impl Leisure {
    pub(crate) fn take(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers requests, for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, reach: Reach, router: Router) -> Infallible {
    let room = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let endless_room = Arc::new(Semaphore::new(HTTP_ENDLESS_MAX));
    loop {
        let permit =
            Arc::clone(&room).acquire_owned().await.expect("invariant: the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: the queue of the listener keeps who comes meanwhile.
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            continue;
        };
        let (router, endless_room) = (router.clone(), Arc::clone(&endless_room));
        tokio::spawn(async move {
            let endless = OnceLock::new();
            tokio::select! {
                () = connection(stream, router, &endless_room, &endless) => {}
                // Too slow, or a reader that stands: the connection is closed.
                () = overdue(reach, &endless) => {}
            }
            drop(permit);
        });
    }
}

/// Returns when a connection has lasted for long enough.
async fn overdue(reach: Reach, endless: &OnceLock<OwnedSemaphorePermit>) {
    let limit = match reach {
        Reach::Loopback => HTTP_LOCAL_CONNECTION_MS_MAX,
        Reach::Network => HTTP_CONNECTION_MS_MAX,
    };
    sleep(Duration::from_millis(limit)).await;
    if reach == Reach::Loopback && endless.get().is_some() {
        pending::<()>().await;
    }
}

/// Answers on it to its end; `endless` is set when an answer without an end begins.
async fn connection(
    stream: TcpStream,
    router: Router,
    endless_room: &Arc<Semaphore>,
    endless: &OnceLock<OwnedSemaphorePermit>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let answer = answer(router, request.map(Body::new)).await;
            Ok::<_, Infallible>(admitted(answer, endless_room, endless))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP_HEAD_MS_MAX))
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = served.await {
        debug!(%error, "an HTTP client went away");
    }
}

/// The answer, or in place of one without an end that there are too many of those.
fn admitted(
    answer: Response,
    endless_room: &Arc<Semaphore>,
    endless: &OnceLock<OwnedSemaphorePermit>,
) -> Response {
    if answer.extensions().get::<Endless>().is_none() || endless.get().is_some() {
        return answer;
    }
    match Arc::clone(endless_room).try_acquire_owned() {
        Ok(permit) => {
            // Held to the end of the connection. Its answers come one after the other: nobody has set it meanwhile.
            let _ = endless.set(permit);
            answer
        }
        Err(_) => {
            let reason = format!("{HTTP_ENDLESS_MAX} readers follow already: end one of them\n");
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}

async fn answer(router: Router, mut request: Request) -> Response {
    let leisure = Leisure::default();
    request.extensions_mut().insert(leisure.clone());
    tokio::select! {
        answered = router.oneshot(request) => match answered {
            Ok(response) => response,
            Err(never) => match never {},
        },
        () = late(&leisure) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the proxy is too busy to answer\n").into_response()
        }
    }
}

/// Returns when an answer has not begun for too long.
async fn late(leisure: &Leisure) {
    sleep(Duration::from_millis(HTTP_ANSWER_MS_MAX)).await;
    if leisure.0.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
