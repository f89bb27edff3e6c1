//! Waits that may be for ever.

use std::future::pending;

use tokio::sync::watch;
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
