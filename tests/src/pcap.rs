//! Reading the files tcpdump writes, as far as TCP over Ethernet goes.
//!
//! Only what the tests need: classic pcap of link type Ethernet, IPv4 and IPv6 without extension headers before TCP.
//! Anything else in a file is counted and skipped, a file that is not such a capture is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

const LINK_TYPE_ETHERNET: u32 = 1;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// One TCP segment as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'f> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub flags: u8,
    /// The payload's length on the wire.
    pub payload_len: usize,
    /// As much of the payload as was captured.
    pub payload: &'f [u8],
}

/// All TCP segments of a capture file.
pub fn segments(file: &[u8]) -> Result<Vec<Segment<'_>>> {
    let mut reader = Reader { bytes: file, big_endian: false };
    let magic = reader.u32().context("an empty capture")?;
    // Microseconds or nanoseconds, in the byte order of the machine that wrote.
    reader.big_endian = match magic {
        0xa1b2_c3d4 | 0xa1b2_3c4d => false,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => true,
        _ => bail!("not a capture file: it begins with {magic:#010x}"),
    };
    reader.take(16).context("a truncated file header")?;
    let link_type = reader.u32().context("a truncated file header")?;
    ensure!(link_type == LINK_TYPE_ETHERNET, "a capture of link type {link_type}, not Ethernet");
    let mut segments = Vec::new();
    while !reader.bytes.is_empty() {
        // A capture that was cut short ends in a part of a packet.
        let Some(frame) = reader.packet() else { break };
        segments.extend(ethernet(frame));
    }
    Ok(segments)
}

/// Bytes and the byte order of the file's own headers.
struct Reader<'f> {
    bytes: &'f [u8],
    big_endian: bool,
}

impl<'f> Reader<'f> {
    fn take(&mut self, count: usize) -> Option<&'f [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The captured bytes of the next packet: seconds, fraction, captured length, original length, bytes.
    fn packet(&mut self) -> Option<&'f [u8]> {
        self.take(8)?;
        let captured = self.u32()?;
        self.take(4)?;
        self.take(usize::try_from(captured).ok()?)
    }
}

fn ethernet(frame: &[u8]) -> Option<Segment<'_>> {
    let (header, rest) = frame.split_at_checked(14)?;
    match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_IPV4 => ipv4(rest),
        ETHERTYPE_IPV6 => ipv6(rest),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Segment<'_>> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let (header, rest) = packet.split_at_checked(header_len.max(20))?;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if header[9] != PROTOCOL_TCP || fragment_offset != 0 {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    tcp(IpAddr::V4(address(12)), IpAddr::V4(address(16)), rest, total_len.checked_sub(header_len)?)
}

fn ipv6(packet: &[u8]) -> Option<Segment<'_>> {
    let (header, rest) = packet.split_at_checked(40)?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[6] != PROTOCOL_TCP {
        return None;
    }
    let source: [u8; 16] = header[8..24].try_into().ok()?;
    let destination: [u8; 16] = header[24..40].try_into().ok()?;
    let address = |bytes: [u8; 16]| IpAddr::V6(Ipv6Addr::from(bytes));
    tcp(address(source), address(destination), rest, payload_len)
}

/// `wire_len` is the segment's length on the wire, header included: what was captured may be less, or more by the
/// padding of a short frame.
fn tcp(source: IpAddr, destination: IpAddr, bytes: &[u8], wire_len: usize) -> Option<Segment<'_>> {
    let fixed = bytes.get(..20)?;
    let header_len = usize::from(fixed[12] >> 4) * 4;
    let payload_len = wire_len.checked_sub(header_len)?;
    let payload = bytes.get(header_len..).unwrap_or_default();
    Some(Segment {
        source: SocketAddr::new(source, u16::from_be_bytes([fixed[0], fixed[1]])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([fixed[2], fixed[3]])),
        sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        flags: fixed[13],
        payload_len,
        payload: &payload[..payload.len().min(payload_len)],
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A capture file with one Ethernet frame per (source, destination, sequence, flags, payload).
    pub(crate) fn file(packets: &[(SocketAddr, SocketAddr, u32, u8, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, LINK_TYPE_ETHERNET] {
            file.extend(word.to_le_bytes());
        }
        for (source, destination, sequence, flags, payload) in packets {
            let frame = frame(*source, *destination, *sequence, *flags, payload);
            for word in [0, 0, frame.len() as u32, frame.len() as u32] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn frame(
        source: SocketAddr,
        destination: SocketAddr,
        sequence: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(source.port().to_be_bytes());
        tcp.extend(destination.port().to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(payload);
        let mut frame = vec![0; 12];
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                frame.extend([0x45, 0]);
                frame.extend((20 + tcp.len() as u16).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend((tcp.len() as u16).to_be_bytes());
                frame.extend([PROTOCOL_TCP, 64]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => panic!("mixed families"),
        }
        frame.extend(tcp);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn segments_of_both_families_are_read_and_padding_is_not_payload() {
        let (a4, b4) = (address("10.1.0.2:4000"), address("10.2.0.2:15008"));
        let (a6, b6) = (address("[fd10:1::2]:4000"), address("[fd10:2::2]:80"));
        let file = file(&[(a4, b4, 7, SYN, b""), (b4, a4, 9, ACK, b"hi"), (a6, b6, 1, ACK | FIN, b"sixth")]);
        let segments = segments(&file).unwrap();
        let seen: Vec<_> =
            segments.iter().map(|s| (s.source, s.destination, s.sequence, s.flags, s.payload)).collect();
        assert_eq!(
            seen,
            [(a4, b4, 7, SYN, &b""[..]), (b4, a4, 9, ACK, &b"hi"[..]), (a6, b6, 1, ACK | FIN, &b"sixth"[..]),]
        );
        assert!(segments.iter().all(|segment| segment.payload_len == segment.payload.len()));
    }

    #[test]
    fn a_short_capture_keeps_the_length_on_the_wire() {
        let (a, b) = (address("10.1.0.2:4000"), address("10.2.0.2:80"));
        let mut file = file(&[(a, b, 1, ACK, &[7; 1000])]);
        // What tcpdump -s 100 writes: 100 captured bytes of a frame of 1,054.
        file.truncate(24 + 16 + 100);
        file[24 + 8..24 + 12].copy_from_slice(&100_u32.to_le_bytes());
        let segments = segments(&file).unwrap();
        assert_eq!((segments[0].payload_len, segments[0].payload.len()), (1000, 46));
    }

    #[test]
    fn a_file_cut_in_a_packet_gives_the_packets_before() {
        let (a, b) = (address("10.1.0.2:4000"), address("10.2.0.2:80"));
        let whole = file(&[(a, b, 1, ACK, b"one"), (a, b, 4, ACK, b"two")]);
        for cut in 24..whole.len() {
            assert!(segments(&whole[..cut]).unwrap().len() < 2, "cut at {cut}");
        }
        assert_eq!(segments(&whole).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_capture_is_an_error() {
        assert!(segments(b"").is_err());
        assert!(segments(b"plain text, no capture at all").is_err());
    }

    #[test]
    fn broken_packets_are_skipped() {
        let (a, b) = (address("10.1.0.2:4000"), address("10.2.0.2:80"));
        let good = file(&[(a, b, 1, ACK, b"payload")]);
        // Every byte of the frame set to every extreme: no panic, and never more payload than was there.
        for at in 40..good.len() {
            for value in [0, 0x0f, 0x45, 0x4f, 0xf0, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                for segment in segments(&bad).unwrap() {
                    assert!(segment.payload.len() <= 60, "byte {at} = {value:#x}");
                }
            }
        }
    }
}
