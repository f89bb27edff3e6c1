//! Integers with a prefix (RFC 7541 §5.1).

use super::HpackError;

/// Writes `value` into the low `prefix` bits of an octet whose high bits are `pattern`, and more octets if needed.
pub(super) fn put(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let max = (1 << prefix) - 1;
    if value < max {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | max as u8);
    let mut rest = value - max;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes an integer with a prefix of `prefix` bits off the front.
pub(super) fn take(bytes: &mut &[u8], prefix: u32) -> Result<usize, HpackError> {
    let max = (1u32 << prefix) - 1;
    let first = u32::from(octet(bytes)?) & max;
    if first < max {
        return Ok(first as usize);
    }
    // Nothing in a header block needs more than four octets; RFC 7541 §5.1 asks for a limit.
    let mut value = max;
    for shift in [0, 7, 14, 21] {
        let next = u32::from(octet(bytes)?);
        value += (next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value as usize);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

fn octet(bytes: &mut &[u8]) -> Result<u8, HpackError> {
    let (first, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
    *bytes = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// RFC 7541 C.1.1 to C.1.3
    #[test]
    fn rfc7541_c_1() {
        for (value, prefix, bytes) in
            [(10, 5, &[0b01010][..]), (1_337, 5, &[0b11111, 0b1001_1010, 0b1010]), (42, 8, &[0b10_1010])]
        {
            let mut out = Vec::new();
            put(&mut out, 0, prefix, value);
            assert_eq!(out, bytes);
            assert_eq!(take(&mut &out[..], prefix), Ok(value));
        }
    }

    #[test]
    fn rfc7541_5_1_too_long_and_too_short() {
        assert_eq!(take(&mut &[][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[0x1f, 0x80][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[0x1f, 0x80, 0x80, 0x80, 0x80, 0][..], 5), Err(HpackError::IntegerTooLarge));
        assert_eq!(take(&mut &[0x1f, 0xff, 0xff, 0xff, 0x7f][..], 5), Ok((1 << 28) - 1 + 31));
    }

    #[test]
    fn everything_written_is_read() {
        for prefix in 4..=7 {
            for value in (0..300).chain([4_096, 16_383, 65_535, 1 << 20]) {
                let mut out = Vec::new();
                put(&mut out, 0, prefix, value);
                out.push(0xaa);
                let mut rest = &out[..];
                assert_eq!(take(&mut rest, prefix), Ok(value));
                assert_eq!(rest, [0xaa]);
            }
        }
    }
}
