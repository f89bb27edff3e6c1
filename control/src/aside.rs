//! Work that would hold up the control thread, on threads of its own.
//!
//! Not tokio's: where none can be started, as in a container that has reached its limit of processes, those make a
//! panic of it. Here it is an error like others, which passes.

use std::io;
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

#[derive(Debug, Error)]
pub(crate) enum AsideError {
    #[error("no thread can be started ({0}): raise the limit of processes (pids.max, ulimit -u)")]
    NoThread(#[from] io::Error),
    #[error("a thread of the proxy panicked: report what it logged")]
    Panicked,
}

/// Does the work on a thread of this name. Whoever stops waiting leaves it to its end.
///
/// # Errors
///
/// There is no thread to be had, or the work panicked.
pub(crate) async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AsideError> {
    let (done, answer) = oneshot::channel();
    // Whoever asked may be gone.
    thread::Builder::new().name(name.to_owned()).spawn(move || _ = done.send(work()))?;
    answer.await.map_err(|_| AsideError::Panicked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_a_thread_of_its_own() {
        let name = aside("worker", || thread::current().name().map(str::to_owned)).await.unwrap();
        assert_eq!(name.as_deref(), Some("worker"));
    }

    #[tokio::test]
    async fn a_panic_aside_is_no_panic_here() {
        let failed = aside("worker", || panic!("on purpose")).await;
        assert!(matches!(failed, Err::<(), _>(AsideError::Panicked)), "{failed:?}");
    }
}
