//! HTTP/2 frames by hand: just enough to open a stream with CONNECT, and to do it wrongly.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

/// RFC 9113 §3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// The longest frame we read: more than any proxy here sends.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame ready to be sent (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("invariant: tests send no frame of 4 GiB");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The first bytes of a client: preface and empty SETTINGS.
pub fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// HEADERS with a request of these fields.
pub fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

/// HEADERS with `CONNECT authority`.
pub fn connect(stream: u32, authority: &str) -> Vec<u8> {
    request(stream, &[(":method", "CONNECT"), (":authority", authority)])
}

/// A field block of literals without indexing and without Huffman (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1 with a prefix of seven bits.
fn length(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(value as u8);
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Reads one frame; `None` when the connection ended instead.
pub fn read(from: &mut impl Read) -> Result<Option<Frame>> {
    let mut header = [0; 9];
    if from.read_exact(&mut header).is_err() {
        return Ok(None);
    }
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    if length > FRAME_BYTES_MAX {
        bail!("a frame of {length} bytes");
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).context("inside a frame")?;
    let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & 0x7fff_ffff;
    Ok(Some(Frame { kind: header[3], flags: header[4], stream, payload }))
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    Reset { code: u32 },
    GoAway { code: u32 },
    Closed,
}

/// Reads until `stream` is answered; SETTINGS are acknowledged on the way, other frames ignored.
pub fn answer(tls: &mut (impl Read + Write), stream: u32) -> Result<Answer> {
    let code = |payload: &[u8], at: usize| {
        payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes)
    };
    while let Some(frame) = read(tls)? {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                // A peer that closes right after its SETTINGS is told apart by what it sends next.
                let _ = tls.write_all(&self::frame(SETTINGS, ACK, 0, &[])).and_then(|()| tls.flush());
            }
            HEADERS if frame.stream == stream => {
                return Ok(Answer::Status(status(&frame.payload).context("a response without status")?));
            }
            RST_STREAM if frame.stream == stream => {
                return Ok(Answer::Reset { code: code(&frame.payload, 0) });
            }
            GOAWAY => return Ok(Answer::GoAway { code: code(&frame.payload, 4) }),
            _ => {}
        }
    }
    Ok(Answer::Closed)
}

/// The status that begins a response's field block (RFC 7541: indexed, or a literal whose name is indexed).
fn status(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // §6.3: size updates may come first.
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        block = rest;
        if first & 0x1f == 0x1f {
            let end = block.iter().position(|byte| byte & 0x80 == 0)?;
            block = &block[end + 1..];
        }
    }
    let (&first, rest) = block.split_first()?;
    if first & 0x80 != 0 {
        // Appendix A, entries 8 to 14.
        return [200, 204, 206, 304, 400, 404, 500].get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let index = if first & 0xc0 == 0x40 { first & 0x3f } else { first & 0x0f };
    let (&length, rest) = rest.split_first()?;
    let value = rest.get(..usize::from(length & 0x7f))?;
    if !(8..=14).contains(&index) {
        return None;
    }
    let digits = if length & 0x80 != 0 { huffman_digits(value) } else { value.to_vec() };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Digits in the Huffman code of RFC 7541 appendix B: 0 to 2 are the five bits 0 to 2, 3 to 9 the six bits 0x19 to 0x1f.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = bytes.len() * 8;
    let mut digits = Vec::new();
    while left >= 5 {
        let five = (bits >> (left - 5) & 0x1f) as u8;
        let six = if left >= 6 { (bits >> (left - 6) & 0x3f) as u8 } else { 0 };
        let (digit, used) = match (five, six) {
            (0..=2, _) => (b'0' + five, 5),
            (_, 0x19..=0x1f) => (b'3' + six - 0x19, 6),
            _ => break,
        };
        digits.push(digit);
        left -= used;
    }
    digits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statuses_are_read_in_every_form_a_peer_may_choose() {
        let table: [(&str, &[u8], Option<u16>); 8] = [
            ("indexed 200", &[0x88], Some(200)),
            ("indexed 400", &[0x8c], Some(400)),
            ("literal, indexing", &[0x48, 3, b'4', b'0', b'1'], Some(401)),
            ("literal, without", &[0x08, 3, b'5', b'0', b'3'], Some(503)),
            ("literal, never", &[0x18, 3, b'5', b'0', b'3'], Some(503)),
            // 4 = 011010, 0 = 00000, 1 = 00001 and padding of ones; 503 = 011011 00000 011001.
            ("Huffman 401", &[0x48, 0x82, 0b0110_1000, 0b0000_0001], Some(401)),
            ("Huffman 503", &[0x08, 0x83, 0b0110_1100, 0b0000_1100, 0b1111_1111], Some(503)),
            ("another field", &[0x04, 1, b'/'], None),
        ];
        for (name, block, expected) in table {
            assert_eq!(status(block), expected, "{name}");
            assert_eq!(status(&[&[0x20], block].concat()), expected, "{name} after a size update");
            assert_eq!(status(&[&[0x3f, 0xe1, 0x1f], block].concat()), expected, "{name} after a long one");
        }
    }

    #[test]
    fn lengths_above_the_prefix_are_continued() {
        // RFC 7541 C.1.2 with a prefix of seven bits: 1337 - 127 = 1210 = 58 + 9 * 128.
        let mut block = Vec::new();
        length(&mut block, 1337);
        assert_eq!(block, [127, 58 | 0x80, 9]);
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = frame(HEADERS, END_HEADERS, 3, b"abc");
        assert_eq!(bytes, [0, 0, 3, 1, 4, 0, 0, 0, 3, b'a', b'b', b'c']);
        let read = read(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(read, Frame { kind: HEADERS, flags: END_HEADERS, stream: 3, payload: b"abc".to_vec() });
        assert_eq!(super::read(&mut &bytes[..5]).unwrap(), None);
    }
}
