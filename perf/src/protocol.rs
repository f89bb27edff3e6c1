//! What the runner and its load generators say to each other: one JSON value a line, a request and its reply.
//!
//! A generator is a process inside a pod. It does nothing by itself: the runner tells it to listen, to start a load, and
//! where the measured window begins and ends, so that both ends and the proxies are measured over the same time.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Bytes of a message of the ping-pong and of a request and a response of the short connections.
pub(crate) const MESSAGE_BYTES: usize = 64;

/// What a server listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Port {
    /// Reads and counts.
    Sink = 27001,
    /// Sends without end.
    Source = 27002,
    /// Sends back what it gets.
    Echo = 27003,
    /// Answers one message with one of the same length and closes.
    Short = 27004,
}

impl Port {
    pub(crate) fn of(self, ip: Ipv4Addr) -> SocketAddr {
        (ip, self as u16).into()
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Be the server of every load.
    Listen,
    /// Begin a load against the server at this address, beside those that run already.
    Start { load: Load, server: Ipv4Addr },
    /// The measured window begins: forget what was counted.
    Begin,
    /// The measured window ends: tell what was counted.
    End,
}

/// What a client does until it is ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// One stream, as fast as it goes, to the server.
    Bulk,
    /// The same from the server.
    BulkReverse,
    /// A message each way, again and again, on so many connections at once.
    PingPong { connections: usize },
    /// Connect, a message each way, close, again and again, by so many workers at once.
    Connect { workers: usize },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Done,
    Tally(Tally),
    Failed(String),
}

/// What one end counted in the measured window.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// How long the window was, by the clock of this end.
    pub(crate) seconds: f64,
    /// Bytes of bulk streams that arrived here.
    pub(crate) received_bytes: u64,
    /// Messages that went and came back; whole connections for [`Load::Connect`].
    pub(crate) exchanges: u64,
    /// How long those took.
    pub(crate) latency: Option<Quantiles>,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// What a message waits for that is sent at any moment: the median where each exchange weighs as much as it lasted.
    pub(crate) p50_by_time_us: f64,
}
