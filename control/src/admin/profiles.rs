//! `/debug/pprof/*`: where the process spends its CPU time.
//!
//! A signal interrupts the threads so and so often in each second of CPU time, and its handler notes their stacks. What
//! makes a profile of them is a thread of its own: that takes a while, and debug information in memory.

mod encoding;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use self::encoding::{Timing, encode};
use crate::aside::AsideError;

/// The longest profile: half of what a connection to the admin port may last.
const PROFILE_SECONDS_MAX: u64 = 300;

/// What is taken if nothing is said, as ztunnel does.
const PROFILE_SECONDS: u64 = 10;

/// The most samples in a second of CPU time: at about 20 us each, one in fifty of it.
const PROFILE_HZ_MAX: i32 = 1_000;

/// The same where nothing is said.
const PROFILE_HZ: i32 = 100;

/// Code that is passed over, since the unwinder may not go through it: itself, the kernel's page of clocks, the loader.
const NOT_UNWOUND: [&str; 3] = ["libgcc", "vdso", "ld-linux"];

/// In memory, and there in a container with a root that cannot be written to.
const SHARED_MEMORY: &str = "/dev/shm";

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    #[serde(default = "seconds")]
    seconds: u64,
    #[serde(default = "frequency")]
    frequency: i32,
}

#[derive(Debug, Error)]
enum ProfileError {
    #[error(
        "ask for /debug/pprof/profile?seconds=S&frequency=HZ: 1 to {PROFILE_SECONDS_MAX} seconds, 1 to {PROFILE_HZ_MAX} \
         samples in each"
    )]
    Usage,
    #[error("a profile is being taken already: wait for its end")]
    Running,
    #[error(
        "no profile can be taken: {0}; it takes a directory for temporary files (TMPDIR, /tmp or {SHARED_MEMORY})"
    )]
    Unavailable(pprof::Error),
    #[error(transparent)]
    Aside(#[from] AsideError),
}

/// `GET /debug/pprof/profile`: answered once it is being taken, sent when it has been. Whoever goes before ends it.
pub(super) async fn cpu(wish: Result<Query<Wish>, QueryRejection>) -> Response {
    let wish = wish.ok().filter(|Query(wish)| wish.is_possible());
    let Some(Query(wish)) = wish else { return ProfileError::Usage.into_response() };
    match begin(wish).await {
        Ok(body) => ([(CONTENT_TYPE, OCTETS)], body).into_response(),
        Err(error) => error.into_response(),
    }
}

pub(super) async fn heap() -> (StatusCode, &'static str) {
    let reason = "no heap profiles in this build: they need an allocator that samples, and this one uses that of the \
                  C library; ringway_shard_buffered_bytes and /proc/PID/smaps_rollup tell where memory is\n";
    (StatusCode::NOT_IMPLEMENTED, reason)
}

async fn begin(wish: Wish) -> Result<Body, ProfileError> {
    let (begun, beginning) = oneshot::channel();
    let (done, profile) = mpsc::channel(1);
    let (asked, gone) = channel();
    let work = move || profile_aside(&wish, begun, &gone, &done);
    thread::Builder::new().name("profiler".to_owned()).spawn(work).map_err(AsideError::from)?;
    beginning.await.map_err(|_| AsideError::Panicked)??;
    let stream = ReceiverStream::new(profile).map(move |part| {
        let _asked = &asked;
        part
    });
    Ok(Body::from_stream(stream))
}

fn profile_aside(
    wish: &Wish,
    begun: oneshot::Sender<Result<(), ProfileError>>,
    gone: &Receiver<Infallible>,
    done: &mpsc::Sender<io::Result<Bytes>>,
) {
    let profiler = match profiler(wish.frequency) {
        Ok(profiler) => profiler,
        Err(error) => {
            let _ = begun.send(Err(error));
            return;
        }
    };
    info!(seconds = wish.seconds, frequency = wish.frequency, "taking a CPU profile");
    if begun.send(Ok(())).is_err()
        || gone.recv_timeout(Duration::from_secs(wish.seconds)) == Err(RecvTimeoutError::Disconnected)
    {
        return;
    }
    let profile = profiler.report().build().map(|report| {
        let timing = Timing {
            frequency_hz: report.timing.frequency,
            began: report.timing.start_time,
            duration: report.timing.duration,
        };
        Bytes::from(encode(&report.data, &timing))
    });
    drop(profiler);
    // Debug information of the whole program: nobody needs it until the next one.
    backtrace::clear_symbol_cache();
    // An error breaks the connection: what was sent of the answer is no profile.
    let profile = profile.map_err(|error| {
        warn!(%error, "no CPU profile could be made of what was sampled");
        io::Error::other(error)
    });
    // Whoever asked may be gone meanwhile.
    let _ = done.blocking_send(profile);
}

fn profiler(frequency: i32) -> Result<ProfilerGuard<'static>, ProfileError> {
    // The profiler makes a file there whatever it is asked for, and never again tries where it could not.
    if tempfile::tempfile_in(tempfile::env::temp_dir()).is_err() {
        let _ = tempfile::env::override_temp_dir(Path::new(SHARED_MEMORY));
    }
    let profiler = ProfilerGuardBuilder::default().frequency(frequency).blocklist(&NOT_UNWOUND);
    profiler.build().map_err(|error| match error {
        pprof::Error::Running => ProfileError::Running,
        error => ProfileError::Unavailable(error),
    })
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
            Self::Unavailable(_) | Self::Aside(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
