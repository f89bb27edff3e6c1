//! What the runner and its load generators say to each other: one JSON value a line, a request and its reply.
//!
//! A generator is a process inside a pod. It does nothing by itself: the runner tells it to listen, to start a load, and
//! where the measured window begins and ends, so that both ends and the proxies are measured over the same time.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::record::Point;

/// Bytes of a request and of its response on a connection that is opened for it, and of what every idle connection
/// carried once.
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
    pub(crate) fn of(self, ip: Ipv4Addr) -> SocketAddrV4 {
        SocketAddrV4::new(ip, self as u16)
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
    /// Run an errand against the server at this address to its end.
    Run { errand: Errand, server: Ipv4Addr },
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
    /// Streams from the server of which nothing is ever read.
    StandingReaders { connections: usize },
    /// Streams from the server of which so much is read, each.
    SlowReaders { connections: usize, bytes_per_s: usize },
    /// A message each way, again and again, on so many connections at once.
    PingPong { connections: usize, bytes: usize },
    /// So many messages a second, one after the other on each of the connections, whenever their time has come. How long
    /// each took counts from then, also if it had to wait for the one before.
    PacedPingPong { connections: usize, bytes: usize, per_s: u32 },
    /// Connect, a message each way, close, again and again, by so many workers at once.
    Connect { workers: usize },
    /// So many connections that have carried a message each way and stand still from then on.
    Idle { connections: usize },
}

/// What a client does that comes to an end by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Errand {
    /// Connect, a message each way, close, once to each of these addresses of the server, by so many workers at once.
    ConnectEach { servers: Vec<Ipv4Addr>, workers: usize },
    /// A connection to each of these addresses of the server, so many a second. How long each took counts from when its
    /// time has come to the first byte that came back.
    FirstBytes { servers: Vec<Ipv4Addr>, per_s: u32 },
    /// So many connections at once, a message each way on each. How long each took counts from the beginning of all. One
    /// that fails is counted and is no error.
    Storm { connections: usize },
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
    /// Messages that went and came back; whole connections where each has only one.
    pub(crate) exchanges: u64,
    /// Those that did not.
    pub(crate) failures: u64,
    /// How long those took that did.
    pub(crate) latency: Option<Latency>,
}

/// How long exchanges took, in microseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    /// `None` of less than a thousand exchanges: it would be the longest one under another name.
    pub(crate) p99_9_us: Option<f64>,
    /// `None` of less than ten thousand.
    pub(crate) p99_99_us: Option<f64>,
    pub(crate) max_us: f64,
    /// What a message waits for that is sent at any moment: the median where each exchange weighs as much as it lasted.
    pub(crate) p50_by_time_us: f64,
    /// From the shortest exchange up to the p99.99, or as far as there were exchanges enough.
    pub(crate) curve: Vec<Point>,
}
