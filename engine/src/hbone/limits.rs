//! Every number a session is bounded by, with its reason.
//!
//! Floods are counted, not timed, since a session has no clock: a budget is spent by frames that get nothing done, and
//! given back by frames that do and by each of our own keepalive PINGs (every ten seconds in production).

/// The largest a flow-control window may grow (RFC 9113 §6.9.1).
pub const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// Our receive window of the whole connection: the largest there is, so that readers that stand still cannot stop
/// the streams beside them. Memory is bounded by the stream windows and by the caller's byte budgets.
pub const CONNECTION_WINDOW_BYTES: u32 = WINDOW_BYTES_MAX;

/// What RFC 9113 §6.9.2 gives every window before SETTINGS and WINDOW_UPDATE.
pub const INITIAL_WINDOW_BYTES: u32 = 65_535;

/// Our receive window of one stream, as ztunnel's: 10 Gb/s at 3 ms.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The smallest SETTINGS_MAX_FRAME_SIZE a peer may announce, and what holds before it did (RFC 9113 §6.5.2).
pub const FRAME_BYTES_MIN: u32 = 16_384;

/// The largest SETTINGS_MAX_FRAME_SIZE a peer may announce (RFC 9113 §6.5.2).
pub const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;

/// The frame size we announce, as ztunnel's. We take such frames piece by piece and never send them.
pub const FRAME_BYTES_ANNOUNCED: u32 = 1 << 20;

/// Payload of the largest DATA frame we send: with its header it fills four TLS records of 16,384 bytes exactly, and
/// holds up the other streams of its tunnel for no longer than that.
pub const DATA_PAYLOAD_BYTES_MAX: usize = 4 * 16_384 - 9;

/// A DATA frame below this is charged by peers on h2 0.4.16 and later, so the tail of a larger write is not cut
/// shorter.
pub const DATA_RUNT_BYTES: usize = 256;

/// Header list we accept as a client, as ztunnel's: responses carry a baggage header and little else.
pub const HEADER_LIST_CLIENT_BYTES_MAX: u32 = 16 << 10;

/// Header list we accept as a server, as ztunnel's.
pub const HEADER_LIST_SERVER_BYTES_MAX: u32 = 64 << 10;

/// A header block buffer larger than this is given back after use, so that an idle tunnel holds no large one.
pub const HEADER_BLOCK_KEPT_BYTES_MAX: usize = 2 << 10;

/// CONTINUATION frames of one header block: 64 KiB in frames of 16 KiB take four, the rest is for odd cutters.
pub const CONTINUATIONS_PER_BLOCK_MAX: u32 = 32;

/// The dynamic table of our HPACK decoder: the default of RFC 7541 §4.2, which peers use before they have read our
/// SETTINGS, so we announce nothing else.
pub const HPACK_TABLE_BYTES: usize = 4_096;

/// Streams a peer may have open towards us, as ztunnel's.
pub const STREAMS_MAX: u32 = 200;

/// Streams we open before the peer's SETTINGS arrived: RFC 9113 §6.5.2 recommends no limit below it.
pub const STREAMS_BEFORE_SETTINGS_MAX: u32 = 100;

/// Streams we reset whose late frames are still told from stray ones: more than a peer can have open at a time.
pub const RESET_STREAMS_REMEMBERED_MAX: usize = 256;

/// Streams that ended otherwise and are remembered, only so that frames on them get the right error code.
pub const ENDED_STREAMS_REMEMBERED_MAX: usize = 32;

/// Parameters in one SETTINGS frame: eight are defined, some peers add reserved ones to exercise us.
pub const SETTINGS_PARAMETERS_MAX: u32 = 128;

/// Streams that ended before they came to anything: reset by the peer unanswered (CVE-2023-44487), refused, or reset
/// by us for the peer's fault (CVE-2025-8671). An answered stream gives one back. nghttp2 allows as many at once.
pub const RESET_BUDGET_FRAMES: u32 = 1_000;

/// What a keepalive gives back to [`RESET_BUDGET_FRAMES`]: 33 a second, as nghttp2.
pub const RESET_REFILL_FRAMES: u32 = 330;

/// PINGs (CVE-2019-9512). A DATA frame gives one back, for peers that measure the bandwidth with PINGs.
pub const PING_BUDGET_FRAMES: u32 = 1_000;

/// SETTINGS (CVE-2019-9515); a peer has no reason to send more than a few in its life.
pub const SETTINGS_BUDGET_FRAMES: u32 = 100;

/// DATA that carries no byte and ends nothing (CVE-2019-9518). DATA with bytes gives one back.
pub const EMPTY_DATA_BUDGET_FRAMES: u32 = 1_000;

/// WINDOW_UPDATE. A DATA frame of ours gives [`WINDOW_UPDATES_PER_DATA_FRAMES`] back, a new stream as many.
pub const WINDOW_UPDATE_BUDGET_FRAMES: u32 = 10_000;

/// A peer that returns credit after each frame sends one for the stream, one for the connection; twice that is fair.
pub const WINDOW_UPDATES_PER_DATA_FRAMES: u32 = 4;

/// Everything else that gets nothing done: PRIORITY (CVE-2019-9513), unknown frames, late frames on closed streams,
/// interim responses, PING acknowledgements, GOAWAY. A DATA frame with bytes and a new stream give one back.
pub const OTHER_BUDGET_FRAMES: u32 = 10_000;

/// Reason text put into a GOAWAY, for the peer's log.
pub const GOAWAY_TEXT_BYTES_MAX: usize = 128;
