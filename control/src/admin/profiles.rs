//! `/debug/pprof/*`: where the process spends its CPU time.
//!
//! A signal interrupts the threads so and so often in each second of CPU time, and its handler notes their stacks. What
//! makes a profile of them is a thread of its own: that takes a while, and debug information in memory.

mod encoding;
mod sampling;

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use axum::Extension;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pprof::ProfilerGuard;
use serde::Deserialize;
use thiserror::Error;
use tracing::{info, warn};

use self::encoding::{Timing, encode};
use self::sampling::{SHARED_MEMORY, Turn};
use crate::aside::{AsideError, aside};
use crate::http::Leisure;

/// The longest profile: half of what a connection to the admin port may last.
const PROFILE_SECONDS_MAX: u64 = 300;

/// What is taken if nothing is said, as ztunnel does.
const PROFILE_SECONDS: u64 = 10;

/// The most samples in a second of CPU time: at about 20 us each, one in fifty of it.
const PROFILE_HZ_MAX: i32 = 1_000;

/// The same where nothing is said.
const PROFILE_HZ: i32 = 100;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default = "seconds")]
    seconds: u64,
    #[serde(default = "frequency")]
    frequency: i32,
}

#[derive(Debug, Error)]
enum ProfileError {
    #[error(
        "ask for /debug/pprof/profile?seconds=S&frequency=HZ, with nothing else: 1 to {PROFILE_SECONDS_MAX} seconds, 1 to \
         {PROFILE_HZ_MAX} samples in each; {PROFILE_SECONDS} and {PROFILE_HZ} if nothing is said"
    )]
    Usage,
    #[error("a profile is being taken already: wait for its end")]
    Running,
    #[error(
        "no profile can be taken: {0}; it takes a directory for temporary files (TMPDIR, /tmp or {SHARED_MEMORY})"
    )]
    Unavailable(pprof::Error),
    #[error("whoever asked for the profile has gone")]
    Unwanted,
    #[error(
        "no profile could be made of what was sampled: {0}; ask again, and report it if that does not help"
    )]
    Unmade(pprof::Error),
    #[error(transparent)]
    Aside(#[from] AsideError),
}

/// `GET /debug/pprof/profile`: answered when it has been taken. Whoever goes before ends it.
pub(super) async fn cpu(
    leisure: Option<Extension<Leisure>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let wish = wish.ok().filter(|Query(wish)| wish.is_possible());
    let Some(Query(wish)) = wish else { return ProfileError::Usage.into_response() };
    if let Some(Extension(leisure)) = leisure {
        leisure.take();
    }
    match profile(wish, encoded).await {
        Ok(profile) => ([(CONTENT_TYPE, OCTETS)], profile).into_response(),
        Err(error) => error.into_response(),
    }
}

pub(super) async fn heap() -> (StatusCode, &'static str) {
    let reason = "no heap profiles in this build: they need an allocator that samples, and this one uses that of the \
                  C library; ringway_shard_buffered_bytes and /proc/PID/smaps_rollup tell where memory is\n";
    (StatusCode::NOT_IMPLEMENTED, reason)
}

/// What is made of the samples. Dropped, it takes no more of them.
async fn profile(
    wish: Wish,
    make: impl FnOnce(&ProfilerGuard<'_>) -> pprof::Result<Vec<u8>> + Send + 'static,
) -> Result<Vec<u8>, ProfileError> {
    let (_waiting, gone) = channel();
    aside("profiler", move || profile_aside(&wish, &gone, make)).await?
}

fn profile_aside(
    wish: &Wish,
    gone: &Receiver<Infallible>,
    make: impl FnOnce(&ProfilerGuard<'_>) -> pprof::Result<Vec<u8>>,
) -> Result<Vec<u8>, ProfileError> {
    // It goes last, also in a panic: the profiler wants it until it has stopped.
    let turn = Turn::take()?;
    let profiler = turn.profiler(wish.frequency)?;
    info!(seconds = wish.seconds, frequency = wish.frequency, "taking a CPU profile");
    if gone.recv_timeout(Duration::from_secs(wish.seconds)) == Err(RecvTimeoutError::Disconnected) {
        return Err(ProfileError::Unwanted);
    }
    let profile = make(&profiler).map_err(ProfileError::Unmade);
    drop(profiler);
    // Debug information of the whole program: nobody needs it until the next one.
    backtrace::clear_symbol_cache();
    profile
}

fn encoded(profiler: &ProfilerGuard<'_>) -> pprof::Result<Vec<u8>> {
    let report = profiler.report().build()?;
    let timing = Timing {
        frequency_hz: report.timing.frequency,
        began: report.timing.start_time,
        duration: report.timing.duration,
    };
    Ok(encode(&report.data, &timing))
}

fn seconds() -> u64 {
    PROFILE_SECONDS
}

fn frequency() -> i32 {
    PROFILE_HZ
}

// === impl Wish ===

impl Wish {
    fn is_possible(&self) -> bool {
        (1..=PROFILE_SECONDS_MAX).contains(&self.seconds) && (1..=PROFILE_HZ_MAX).contains(&self.frequency)
    }
}

// === impl ProfileError ===

impl IntoResponse for ProfileError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Usage => StatusCode::BAD_REQUEST,
            Self::Running => StatusCode::CONFLICT,
            Self::Unmade(_) | Self::Aside(AsideError::Panicked) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::Unwanted | Self::Aside(AsideError::NoThread(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        if status.is_server_error() {
            warn!(error = %self, "no CPU profile for somebody on the admin port");
        }
        (status, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests;
