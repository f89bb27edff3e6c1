//! The Huffman code of RFC 7541 Appendix B.
//!
//! The code is canonical: within one length, codes grow with the symbol, and a longer code begins above every shorter
//! one. So the lengths alone define it, and decoding is finding the first length whose codes reach above the bits.

use super::HpackError;

/// Bits of the code of each octet, and of EOS, the symbol 256.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,];

const SYMBOLS: usize = 257;
/// The longest code has so many bits (RFC 7541 appendix B).
const LENGTH_MAX: usize = 30;

/// The code, worked out from [`LENGTHS`].
struct Code {
    /// Symbols in order of their codes.
    symbols: [u16; SYMBOLS],
    /// By length: the first code above those of this length and all shorter ones, aligned to 32 bits.
    above: [u64; LENGTH_MAX + 1],
    /// By length: the first code, and its place in `symbols`.
    first: [(u32, usize); LENGTH_MAX + 1],
}

static CODE: Code = Code::canonical();

/// Appends what `bytes` say to `out`.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut bits: u64 = 0;
    let mut count = 0;
    let mut rest = bytes.iter();
    loop {
        while count <= 32 {
            let Some(byte) = rest.next() else { break };
            bits = bits << 8 | u64::from(*byte);
            count += 8;
        }
        // The next 32 bits, filled up with the ones that padding is made of (RFC 7541 §5.2).
        let window = if count >= 32 {
            bits >> (count - 32) & 0xffff_ffff
        } else {
            (bits << (32 - count) | 0xffff_ffff >> count) & 0xffff_ffff
        };
        let (symbol, length) = CODE.symbol(window as u32);
        if length > count {
            // RFC 7541 §5.2: padding is the begin of EOS and shorter than an octet.
            let is_padding = count < 8 && window == 0xffff_ffff;
            return if is_padding { Ok(()) } else { Err(HpackError::Huffman) };
        }
        // RFC 7541 §5.2: EOS itself is an error.
        let octet = u8::try_from(symbol).map_err(|_| HpackError::Huffman)?;
        out.push(octet);
        count -= length;
    }
}

// === impl Code ===

impl Code {
    const fn canonical() -> Self {
        let mut code =
            Self { symbols: [0; SYMBOLS], above: [0; LENGTH_MAX + 1], first: [(0, 0); LENGTH_MAX + 1] };
        let (mut next, mut place, mut length) = (0u32, 0, 1);
        while length <= LENGTH_MAX {
            next <<= 1;
            code.first[length] = (next, place);
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[place] = symbol as u16;
                    place += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.above[length] = (next as u64) << (32 - length);
            length += 1;
        }
        // The code is complete: every string of bits begins with a symbol.
        assert!(place == SYMBOLS && code.above[LENGTH_MAX] == 1 << 32);
        code
    }

    /// The symbol that `window` begins with, and its length.
    fn symbol(&self, window: u32) -> (u16, u32) {
        let mut length = 5;
        while u64::from(window) >= self.above[length] {
            length += 1;
        }
        let (first, place) = self.first[length];
        let code = window >> (32 - length);
        (self.symbols[place + (code - first) as usize], length as u32)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u64, 0);
    for octet in text {
        let length = LENGTHS[usize::from(*octet)];
        let (first, place) = CODE.first[usize::from(length)];
        let offset = CODE.symbols[place..].iter().position(|symbol| *symbol == u16::from(*octet)).unwrap();
        bits = bits << length | u64::from(first + offset as u32);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    /// Strings of RFC 7541 C.4 and C.6.
    #[test]
    fn rfc7541_appendix_c_strings() {
        for (text, bytes) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
        ] {
            let bytes: Vec<u8> = (0..bytes.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&bytes[i..i + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&bytes), Ok(text.as_bytes().to_vec()));
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn every_octet_at_every_bit_position() {
        for octet in 0..=u8::MAX {
            for shift in 0..8 {
                // '0' is five bits long, so this walks through all positions.
                let mut text = vec![b'0'; shift];
                text.extend([octet, b'0', octet]);
                assert_eq!(decoded(&encode(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn rfc7541_5_2_padding_is_ones_and_shorter_than_an_octet() {
        // 'a' is 00011.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        for damaged in [
            &[0b0001_1110][..],        // a zero in the padding
            &[0b0001_1111, 0xff],      // eleven bits of padding
            &[0xff],                   // eight bits of padding
            &[0xff, 0xff, 0xff, 0xfc], // EOS
            &[0xff, 0xff, 0xff, 0xff], // EOS and padding
            &[0b1111_1110],            // the first bits of a longer code
        ] {
            assert_eq!(decoded(damaged), Err(HpackError::Huffman), "{damaged:x?}");
        }
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }
}
