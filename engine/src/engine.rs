//! The engine as the control thread sees it: start, publish, pods, drain.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::mesh::Snapshot;
use crate::observe::ConnectionRecord;

/// How the shards are pinned to cores (`RINGWAY_PIN`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinning {
    Off,
    /// One core after the other of those this process may use.
    Spread,
    List(Vec<usize>),
}

/// Whether the application sees the client's address (`ENABLE_ORIG_SRC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginalSource {
    Never,
    /// Where the capability is there.
    Try,
    /// Refuse to start without it.
    Require,
}

/// TCP keepalive of the sockets the proxy makes (`KEEPALIVE_*`, `USER_TIMEOUT_ENABLED`).
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub time: Duration,
    pub interval: Duration,
    pub retries: u32,
    pub user_timeout: bool,
}

#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub shards: usize,
    pub pinning: Pinning,
    /// SO_MARK on every socket of ours (`PACKET_MARK`); none in dedicated mode unless set.
    pub packet_mark: Option<u32>,
    pub original_source: OriginalSource,
    pub ipv6: bool,
    /// SO_REUSEPORT on the listeners (`INPOD_PORT_REUSE`).
    pub port_reuse: bool,
    pub keepalive: Option<Keepalive>,
    /// Streams per tunnel (`POOL_MAX_STREAMS_PER_CONNECTION`).
    pub tunnel_streams_max: u32,
    /// A tunnel that carried nothing for so long is closed (`POOL_UNUSED_RELEASE_TIMEOUT`).
    pub tunnel_unused_release: Duration,
    /// Our stream window in bytes (`HTTP2_STREAM_WINDOW_SIZE`).
    pub stream_window: u32,
    /// The largest frame we accept (`HTTP2_FRAME_SIZE`).
    pub frame_size: u32,
    /// `ENABLE_RESPONSE_BAGGAGE`.
    pub response_baggage: bool,
}

/// A pod whose sockets the engine owns.
#[derive(Debug)]
pub struct Pod {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    /// Its network namespace; `None` is the one this process lives in (dedicated mode).
    pub netns: Option<OwnedFd>,
}

#[derive(Debug, Error)]
pub enum EngineError {
    #[error("shard {shard} did not start: {cause}")]
    Start { shard: usize, cause: String },
    #[error("pod {uid}: {cause}")]
    Pod { uid: Arc<str>, cause: String },
    #[error("the engine has ended")]
    Ended,
}

/// The running shards. Dropping it ends them at once; [`Engine::drain`] first lets connections finish.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Starts the shards and returns when every one of them reported ready.
    pub fn start(_config: EngineConfig, _snapshot: Arc<Snapshot>) -> Result<Self, EngineError> {
        Err(EngineError::Ended)
    }

    /// Hands a new snapshot to every shard. Old ones come back and are dropped on the calling thread.
    pub fn publish(&self, _snapshot: Arc<Snapshot>) {}

    /// Opens the pod's listeners. The same uid in the same namespace again changes nothing.
    pub async fn add_pod(&self, _pod: Pod) -> Result<(), EngineError> {
        Err(EngineError::Ended)
    }

    /// Closes every socket in the pod's namespace, at once.
    pub async fn remove_pod(&self, _uid: &str) -> Result<(), EngineError> {
        Err(EngineError::Ended)
    }

    /// The next connection that ended; waits for one. For one caller at a time.
    pub async fn next_record(&self) -> ConnectionRecord {
        std::future::pending().await
    }

    /// Records that were overwritten because nobody read them in time.
    pub fn lost_records(&self) -> u64 {
        0
    }

    /// Stops accepting, sends GOAWAY, and returns when the last connection has ended. Whoever waits for it bounds the
    /// wait; what is left when the engine is dropped is cut.
    pub async fn drain(&self) {}
}
