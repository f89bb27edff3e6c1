//! Bytes that tell their position: what is lost, doubled or moved by a relay is found, and where.
//!
//! A block of pseudo-random bytes of prime length, repeated. Comparing is a memcmp, so checking does not slow down what
//! is measured, also in a debug build.

use std::sync::OnceLock;

/// A prime, so that no power-of-two buffer size divides it and a shift by one never looks right.
const BLOCK_BYTES: usize = 1_048_573;

fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = (0..BLOCK_BYTES.div_ceil(8)).flat_map(|_| {
            // xorshift64*: enough for bytes that do not repeat.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
        });
        words.take(BLOCK_BYTES).collect()
    })
}

/// The longest stretch of the pattern that begins at `position` and lies in one piece, at most `count` bytes.
pub fn at(position: u64, count: usize) -> &'static [u8] {
    let start = (position % BLOCK_BYTES as u64) as usize;
    let stretch = &block()[start..];
    &stretch[..stretch.len().min(count)]
}

/// Compares `bytes` with the pattern from `position` on; the position of the first difference.
pub fn check(position: u64, bytes: &[u8]) -> Result<(), u64> {
    let mut done = 0;
    while done < bytes.len() {
        let expected = at(position + done as u64, bytes.len() - done);
        let found = &bytes[done..done + expected.len()];
        if found != expected {
            let equal = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
            return Err(position + (done + equal) as u64);
        }
        done += expected.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(position: u64, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(at(position + bytes.len() as u64, count - bytes.len()));
        }
        bytes
    }

    #[test]
    fn what_was_read_in_pieces_checks_across_the_block_end() {
        for position in [0, 1, BLOCK_BYTES as u64 - 1, BLOCK_BYTES as u64, 5_000_000_000] {
            let bytes = read(position, BLOCK_BYTES + 10);
            assert_eq!(check(position, &bytes), Ok(()), "from {position}");
        }
    }

    #[test]
    fn changed_lost_and_doubled_bytes_are_found_where_they_are() {
        let good = read(100, 10_000);
        let mut changed = good.clone();
        changed[5000] ^= 1;
        assert_eq!(check(100, &changed), Err(5100));
        let mut lost = good.clone();
        lost.remove(7000);
        let at = check(100, &lost).expect_err("a byte was lost");
        assert!((7100..7110).contains(&at), "found at {at}");
        let mut doubled = good.clone();
        doubled.splice(3000..3000, good[2000..3000].to_vec());
        let at = check(100, &doubled).expect_err("bytes came twice");
        assert!((3100..3110).contains(&at), "found at {at}");
    }
}
