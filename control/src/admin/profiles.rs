//! `/debug/pprof/*`: not in this build, and why.

use axum::http::StatusCode;

/// A sampling profiler inside the process unwinds stacks in a signal handler, on the threads that carry the bytes.
pub(super) async fn cpu() -> (StatusCode, &'static str) {
    let reason = "no CPU profiles are taken inside the process: the profiler would interrupt the threads that carry \
                  the connections, and walk their stacks in a signal handler; use `perf record -g -p PID` on the node\n";
    (StatusCode::NOT_IMPLEMENTED, reason)
}

pub(super) async fn heap() -> (StatusCode, &'static str) {
    let reason = "no heap profiles in this build: they need an allocator that samples, and this one uses that of the \
                  C library; ringway_shard_buffered_bytes and /proc/PID/smaps_rollup tell where memory is\n";
    (StatusCode::NOT_IMPLEMENTED, reason)
}
