//! The engine's part of the environment: shards, cores, marks, sockets, tunnels.

use std::time::Duration;

use ::engine::engine::{EngineConfig, Keepalive, OriginalSource, Pinning};

use super::value::{boolean, core_list, keepalive_duration, mark, millicores, positive_duration, whole};
use super::variables::Variables;
use super::workers::WorkerRule;
use super::{Machine, Mode};

/// The mark that the redirection rules of Cilium, of Istio's CNI and of `ringway redirect` let pass.
pub const PACKET_MARK_DEFAULT: u32 = 0x539;

/// Of the 32 bits of a mark the rules look at these.
const PACKET_MARK_MASK: u32 = 0xfff;

/// RFC 9113 §6.9.1: a window is at most 2^31-1 bytes; below 64 KiB a single stream stalls on every round trip.
const STREAM_WINDOW_BYTES: (u32, u32) = (65_535, 2_147_483_647);

/// RFC 9113 §4.2: bounds of SETTINGS_MAX_FRAME_SIZE.
const FRAME_BYTES: (u32, u32) = (16_384, 16_777_215);

/// No peer lets us open more streams than it has identifiers for (RFC 9113 §5.1.1).
const TUNNEL_STREAMS: (u32, u32) = (1, 1_000_000);

/// `TCP_KEEPCNT` takes at most 127.
const KEEPALIVE_RETRIES: (u32, u32) = (1, 127);

/// Reads what the engine is started with. `None` where a problem was noted that leaves nothing to go on with.
pub(super) fn read(
    variables: &mut Variables,
    mode: Option<&Mode>,
    concurrency: Option<u32>,
    machine: &Machine,
) -> Option<EngineConfig> {
    let shards = shards(variables, concurrency, machine);
    let config = EngineConfig {
        shards: shards.unwrap_or(1),
        pinning: pinning(variables, shards, machine),
        packet_mark: packet_mark(variables, mode),
        original_source: match variables.parsed("ENABLE_ORIG_SRC", boolean) {
            None => OriginalSource::Try,
            Some(true) => OriginalSource::Require,
            Some(false) => OriginalSource::Never,
        },
        ipv6: variables.parsed("IPV6_ENABLED", boolean).unwrap_or(true),
        port_reuse: variables.parsed("INPOD_PORT_REUSE", boolean).unwrap_or(true),
        keepalive: keepalive(variables),
        tunnel_streams_max: variables
            .parsed("POOL_MAX_STREAMS_PER_CONNECTION", |text| whole(text, TUNNEL_STREAMS.0, TUNNEL_STREAMS.1))
            .unwrap_or(100),
        tunnel_unused_release: variables
            .parsed("POOL_UNUSED_RELEASE_TIMEOUT", positive_duration)
            .unwrap_or(Duration::from_secs(5 * 60)),
        stream_window: variables
            .parsed("HTTP2_STREAM_WINDOW_SIZE", |text| {
                whole(text, STREAM_WINDOW_BYTES.0, STREAM_WINDOW_BYTES.1)
            })
            .unwrap_or(4 * 1024 * 1024),
        frame_size: variables
            .parsed("HTTP2_FRAME_SIZE", |text| whole(text, FRAME_BYTES.0, FRAME_BYTES.1))
            .unwrap_or(1024 * 1024),
        response_baggage: variables.parsed("ENABLE_RESPONSE_BAGGAGE", boolean).unwrap_or(true),
    };
    connection_window(variables);
    shards.map(|_| config)
}

fn shards(variables: &mut Variables, concurrency: Option<u32>, machine: &Machine) -> Option<usize> {
    let threads = variables.text("ZTUNNEL_WORKER_THREADS");
    let rule = WorkerRule {
        threads: threads.as_deref(),
        concurrency,
        limit: variables.parsed("ZTUNNEL_RESOURCE_CPU_LIMIT", millicores),
        request: variables.parsed("ZTUNNEL_RESOURCE_CPU_REQUEST", millicores),
        cpu_limit: variables.parsed("ZTUNNEL_CPU_LIMIT", millicores),
        cores: machine.allowed.len(),
    };
    match rule.workers() {
        Ok(workers) => {
            if workers.derived > workers.count as u64 {
                variables.warn(format!(
                    "the cores and limits of this machine ask for {} workers; at most {} are started",
                    workers.derived, workers.count
                ));
            }
            Some(workers.count)
        }
        Err(accepted) => {
            match threads {
                Some(threads) => variables.refuse("ZTUNNEL_WORKER_THREADS", Some(threads), accepted),
                None => variables.refuse("PROXY_CONFIG", None, format!("concurrency {accepted}")),
            }
            None
        }
    }
}

/// Pinned by default only when the mask is smaller than the machine, which means that somebody gave us these cores:
/// on a shared node a pinned shard waits behind any busy pod of its core.
fn pinning(variables: &mut Variables, shards: Option<usize>, machine: &Machine) -> Pinning {
    let pinning = variables.parsed("RINGWAY_PIN", |text| match text {
        "off" => Ok(Pinning::Off),
        "spread" => Ok(Pinning::Spread),
        list => core_list(list).and_then(|cores| checked_cores(cores, shards, machine)),
    });
    pinning.unwrap_or(if machine.allowed.len() < machine.cores { Pinning::Spread } else { Pinning::Off })
}

fn checked_cores(cores: Vec<usize>, shards: Option<usize>, machine: &Machine) -> Result<Pinning, String> {
    if let Some(core) = cores.iter().find(|core| !machine.allowed.contains(core)) {
        return Err(format!("core {core} is not among those this process may use, {:?}", machine.allowed));
    }
    match shards {
        Some(shards) if shards > cores.len() => Err(format!(
            "names {} cores for {shards} workers; name {shards}, or set ZTUNNEL_WORKER_THREADS={}",
            cores.len(),
            cores.len()
        )),
        _ => Ok(Pinning::List(cores)),
    }
}

/// A core of its own for the control thread, if the shards are pinned and leave one.
pub(super) fn control_core(config: &EngineConfig, machine: &Machine) -> Option<usize> {
    match &config.pinning {
        Pinning::Off => None,
        // The shards take the first of the mask, one core after the other.
        Pinning::Spread => machine.allowed.get(config.shards).copied(),
        Pinning::List(cores) => machine.allowed.iter().find(|core| !cores.contains(core)).copied(),
    }
}

fn packet_mark(variables: &mut Variables, mode: Option<&Mode>) -> Option<u32> {
    let set = variables.parsed("PACKET_MARK", mark);
    if matches!(mode, Some(Mode::Dedicated { .. })) {
        return set;
    }
    if let Some(mark) = set.filter(|mark| mark & PACKET_MARK_MASK != PACKET_MARK_DEFAULT) {
        variables.warn(format!(
            "PACKET_MARK={mark:#x}: the redirection rules of Cilium and of `ringway redirect` let only \
             {PACKET_MARK_DEFAULT:#x}/{PACKET_MARK_MASK:#x} pass; with them every connection would come back to us"
        ));
    }
    Some(set.unwrap_or(PACKET_MARK_DEFAULT))
}

fn keepalive(variables: &mut Variables) -> Option<Keepalive> {
    let keepalive = Keepalive {
        time: variables.parsed("KEEPALIVE_TIME", keepalive_duration).unwrap_or(Duration::from_secs(180)),
        interval: variables
            .parsed("KEEPALIVE_INTERVAL", keepalive_duration)
            .unwrap_or(Duration::from_secs(180)),
        retries: variables
            .parsed("KEEPALIVE_RETRIES", |text| whole(text, KEEPALIVE_RETRIES.0, KEEPALIVE_RETRIES.1))
            .unwrap_or(9),
        user_timeout: variables.parsed("USER_TIMEOUT_ENABLED", boolean).unwrap_or(false),
    };
    variables.parsed("KEEPALIVE_ENABLED", boolean).unwrap_or(true).then_some(keepalive)
}

/// The connection's window is not a setting here: one that a few standing readers can fill would stop a tunnel.
fn connection_window(variables: &mut Variables) {
    let set = variables.parsed("HTTP2_CONNECTION_WINDOW_SIZE", |text| {
        whole(text, STREAM_WINDOW_BYTES.0, STREAM_WINDOW_BYTES.1)
    });
    if let Some(bytes) = set {
        variables.warn(format!(
            "HTTP2_CONNECTION_WINDOW_SIZE={bytes} has no effect: a tunnel's connection window is always 2147483647"
        ));
    }
}
