//! Answers that are made while they are sent, at the pace of who reads them.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Parts of an answer that wait for the socket.
const BODY_PARTS_MAX: usize = 4;

/// The other end of a body. Sending fails once the reader is gone.
#[derive(Debug)]
pub(crate) struct Parts(mpsc::Sender<Bytes>);

/// The reader has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// A body, and what fills it. It ends when the latter is dropped.
pub(crate) fn body() -> (Parts, Body) {
    body_that_holds(())
}

/// The same; `held` is dropped when the body has been handed to the socket to its end, or the reader has gone.
pub(crate) fn body_that_holds(held: impl Send + 'static) -> (Parts, Body) {
    let (parts, taken) = mpsc::channel(BODY_PARTS_MAX);
    let stream = ReceiverStream::new(taken).map(move |part| {
        let _held = &held;
        Ok::<_, Infallible>(part)
    });
    (Parts(parts), Body::from_stream(stream))
}

impl Parts {
    /// Waits until there is room.
    pub(crate) async fn send(&self, part: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(part.into()).await.map_err(|_| Gone)
    }

    /// Returns when the reader has gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}
