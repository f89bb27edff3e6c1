//! The frame layer of RFC 9113 §4.1 and §6: nine-byte headers, kinds and flags.

use super::Sink;
use super::stream::StreamId;
use crate::handover::{ReadError, Reader, Writer};

/// Bytes of a frame header.
pub const HEAD_BYTES: usize = 9;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The header of a frame.
///
/// ```text
///  0        24      32       40                    72
///  ┌────────┬───────┬────────┬─┬────────────────────┐
///  │ length │ kind  │ flags  │R│ stream             │
///  └────────┴───────┴────────┴─┴────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload that follow.
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    pub stream: StreamId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    Goaway,
    WindowUpdate,
    Continuation,
    Unknown(u8),
}

/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// PADDED of DATA and HEADERS.
pub const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub const PRIORITY: u8 = 0x20;

// === impl Head ===

impl Head {
    pub fn new(kind: Kind, flags: u8, stream: StreamId, length: usize) -> Self {
        debug_assert!(length <= super::limits::FRAME_BYTES_MAX as usize);
        Self { length: length as u32, kind, flags, stream }
    }

    pub fn parse(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, stream @ ..] = *bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_byte(kind),
            flags,
            // RFC 9113 §4.1: the reserved bit is ignored.
            stream: StreamId::from_bits(u32::from_be_bytes(stream)),
        }
    }

    pub fn bytes(&self) -> [u8; HEAD_BYTES] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.value().to_be_bytes();
        [l0, l1, l2, self.kind.byte(), self.flags, s0, s1, s2, s3]
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { length, kind, flags, stream } = self;
        w.u32(*length);
        w.u8(kind.byte());
        w.u8(*flags);
        w.u32(stream.value());
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        Ok(Self {
            length: r.u32()?,
            kind: Kind::from_byte(r.u8()?),
            flags: r.u8()?,
            stream: StreamId::read_back(r)?,
        })
    }
}

// === impl Kind ===

impl Kind {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::ResetStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::Goaway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            unknown => Self::Unknown(unknown),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::ResetStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::Goaway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::Unknown(unknown) => unknown,
        }
    }
}

// === writing the small frames ===

/// A frame whose payload is `N` bytes, in one piece.
pub(super) fn put_small<const N: usize>(
    out: &mut impl Sink,
    kind: Kind,
    flags: u8,
    stream: StreamId,
    payload: [u8; N],
) {
    let mut bytes = [0; HEAD_BYTES + 8];
    bytes[..HEAD_BYTES].copy_from_slice(&Head::new(kind, flags, stream, N).bytes());
    bytes[HEAD_BYTES..HEAD_BYTES + N].copy_from_slice(&payload);
    out.put(&bytes[..HEAD_BYTES + N]);
}

pub(super) fn put_window_update(out: &mut impl Sink, stream: StreamId, increment: u32) {
    // RFC 9113 §6.9: an increment of 0 is an error of the sender's.
    debug_assert!((1..=super::limits::WINDOW_BYTES_MAX).contains(&increment));
    put_small(out, Kind::WindowUpdate, 0, stream, increment.to_be_bytes());
}

/// GOAWAY with the reason as its debug data (RFC 9113 §6.8).
pub(super) fn put_goaway(out: &mut impl Sink, last: StreamId, code: super::ErrorCode, text: &str) {
    let text = &text.as_bytes()[..text.len().min(super::limits::GOAWAY_TEXT_BYTES_MAX)];
    out.put(&Head::new(Kind::Goaway, 0, StreamId::CONNECTION, 8 + text.len()).bytes());
    out.put(&last.value().to_be_bytes());
    out.put(&code.0.to_be_bytes());
    out.put(text);
}

/// A header block in HEADERS and as many CONTINUATION frames as the peer's frame size asks for (RFC 9113 §4.3).
pub(super) fn put_block(out: &mut impl Sink, stream: StreamId, block: &[u8], end: bool, frame_size: u32) {
    let (first, mut rest) = block.split_at(block.len().min(frame_size as usize));
    let mut flags = if end { END_STREAM } else { 0 };
    if rest.is_empty() {
        flags |= END_HEADERS;
    }
    out.put(&Head::new(Kind::Headers, flags, stream, first.len()).bytes());
    out.put(first);

    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(frame_size as usize));
        let flags = if after.is_empty() { END_HEADERS } else { 0 };
        out.put(&Head::new(Kind::Continuation, flags, stream, piece.len()).bytes());
        out.put(piece);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn heads_read_as_they_were_written() {
        for kind in 0..=u8::MAX {
            let head = Head::new(Kind::from_byte(kind), 0x2d, StreamId::from_bits(0x7fff_fffe), 0xab_cdef);
            assert_eq!(Head::parse(&head.bytes()), head);
            assert_eq!(head.bytes()[3], kind);
        }
    }

    #[test]
    fn rfc9113_4_1_reserved_bit_is_ignored() {
        let head = Head::parse(&[0, 0, 0, 0, 0, 0x80, 0, 0, 5]);
        assert_eq!(head.stream, StreamId::from_bits(5));
    }

    #[test]
    fn blocks_are_cut_at_the_peers_frame_size() {
        let block: Vec<u8> = (0..25).collect();
        for (size, lengths) in
            [(25, &[25][..]), (24, &[24, 1]), (10, &[10, 10, 5]), (5, &[5; 5]), (100, &[25])]
        {
            let mut out = Vec::new();
            put_block(&mut out, StreamId::from_bits(1), &block, true, size);

            let mut rest = &out[..];
            let mut read = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                let (head, after) = rest.split_first_chunk().unwrap();
                let head = Head::parse(head);
                let (first, last) = (index == 0, index + 1 == lengths.len());
                assert_eq!(head.length as usize, *length);
                assert_eq!(head.kind, if first { Kind::Headers } else { Kind::Continuation });
                assert_eq!(head.has(END_HEADERS), last);
                assert_eq!(head.has(END_STREAM), first);
                read.extend_from_slice(&after[..*length]);
                rest = &after[*length..];
            }
            assert!(rest.is_empty());
            assert_eq!(read, block);
        }
    }
}
