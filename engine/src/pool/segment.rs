//! How much of a transfer to take from an application at once: what fills one segment of the tunnel it goes into.
//!
//! The kernel sends as many packets as fit into 64 KiB as one, through its stack and netfilter once. A few bytes more, and
//! every send has a small segment of its own behind it, which costs as much: at the usual MTU that took a quarter of the
//! throughput (docs/perf/bulk-buffers.md). On an overlay network, with 50 bytes less for each packet, another size fits.

use std::os::fd::BorrowedFd;

use crate::hbone::frame::HEAD_BYTES;
use crate::net;
use crate::tls::{RECORD_DATA_MAX_BYTES, RECORD_OVERHEAD_BYTES};

/// What the kernel sends as one segment at most: 64 KiB less its largest headers (MAX_TCP_HEADER) and a byte.
const SEGMENT_BYTES: u32 = 65_536 - 321;

/// The largest packet's payload for which segments are full of packets. Beyond it is the loopback device, with one packet
/// of 64 KiB.
const PACKET_BYTES_MAX: u32 = 9_000;

/// Payload of a packet at an MTU of 1,500, with timestamps.
const USUAL_PACKET_BYTES: u32 = 1_448;

/// What is left free for a WINDOW_UPDATE that is sent along: its frame in a record of its own.
const SPARE_BYTES: usize = HEAD_BYTES + 4 + RECORD_OVERHEAD_BYTES;

/// The step of sizes, in bytes: a cache line.
const STEP_BYTES: usize = 64;

/// What to receive at once from an application whose bytes go into this tunnel.
pub(super) fn transfer_bytes(tunnel: BorrowedFd<'_>) -> u32 {
    bytes_for(net::packet_bytes(tunnel).unwrap_or(USUAL_PACKET_BYTES))
}

fn bytes_for(packet: u32) -> u32 {
    let packet = if (1..=PACKET_BYTES_MAX).contains(&packet) { packet } else { USUAL_PACKET_BYTES };
    let segment = (SEGMENT_BYTES / packet * packet) as usize;
    let records = segment.div_ceil(RECORD_DATA_MAX_BYTES + RECORD_OVERHEAD_BYTES);
    let payload = segment - SPARE_BYTES - HEAD_BYTES - records * RECORD_OVERHEAD_BYTES;
    (payload / STEP_BYTES * STEP_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_frame_fills_a_segment_and_no_more() {
        for (packet, expected) in [
            (1_448, 65_024),  // MTU 1,500
            (1_398, 64_128),  // MTU 1,450: VXLAN
            (1_428, 64_128),  // MTU 1,500, IPv6
            (8_948, 62_464),  // MTU 9,000
            (536, 64_704),    // the least there is
            (65_483, 65_024), // loopback: as usual
            (0, 65_024),
        ] {
            assert_eq!(bytes_for(packet), expected, "{packet}");
        }
    }
}
