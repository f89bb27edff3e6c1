//! Waits that may be for ever.

use std::convert::Infallible;
use std::future::pending;
use std::panic::resume_unwind;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Until this moment; for ever if there is none.
pub(crate) async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => pending().await,
    }
}

/// Until the next word; for ever if there is nobody to say one.
pub(crate) async fn told(words: &mut watch::Receiver<()>) {
    if words.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Until one of the tasks panics, which is then the caller's own panic; otherwise for ever.
pub(crate) async fn watch_over(tasks: &mut JoinSet<Infallible>) -> Infallible {
    loop {
        match tasks.join_next().await {
            Some(ended) => pass_on(ended),
            None => pending().await,
        }
    }
}

/// Passes on the panic of a task that else ends only when it is told to.
pub(crate) fn pass_on(ended: Result<Infallible, JoinError>) {
    match ended {
        Ok(never) => match never {},
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => {}
    }
}
