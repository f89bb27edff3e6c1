//! How fast a wire is, as `tc` is told.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

/// Below this nothing here is worth a measurement, above it the kernel's timers are too coarse.
const BITS_PER_S_MIN: u64 = 1_000_000;
const BITS_PER_S_MAX: u64 = 400_000_000_000;

/// What may leave at once: the largest packet that segmentation offload makes, four times.
const BURST_BYTES_MIN: u64 = 4 * 64 * 1024;
/// A bucket is filled at least this often in a second, whatever the kernel was built with.
const REFILLS_PER_S: u64 = 100;

/// How long a packet may wait: as short as switches' queues are.
const LATENCY: &str = "10ms";

/// From the command line: `10gbit`, `500mbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    bits_per_s: u64,
}

impl Rate {
    /// As arguments of tc-tbf(8).
    pub(super) fn as_tbf(self) -> String {
        let burst = (self.bits_per_s / 8 / REFILLS_PER_S).max(BURST_BYTES_MIN);
        format!("rate {}bit burst {burst}b latency {LATENCY}", self.bits_per_s)
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "mbit" => Some(1_000_000),
            "gbit" => Some(1_000_000_000),
            _ => None,
        };
        let number = digits.parse::<u64>().ok();
        let bits_per_s = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        let bits_per_s = bits_per_s.context("give it as 10gbit or 500mbit")?;
        let sane = (BITS_PER_S_MIN..=BITS_PER_S_MAX).contains(&bits_per_s);
        ensure!(sane, "a rate is 1mbit to 400gbit");
        Ok(Self { bits_per_s })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabits = self.bits_per_s / 1_000_000;
        if megabits.is_multiple_of(1000) {
            return write!(out, "{}gbit", megabits / 1000);
        }
        write!(out, "{megabits}mbit")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_are_read_and_told() {
        for (text, tbf) in [
            ("10gbit", "rate 10000000000bit burst 12500000b latency 10ms"),
            ("500mbit", "rate 500000000bit burst 625000b latency 10ms"),
            ("1mbit", "rate 1000000bit burst 262144b latency 10ms"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.as_tbf().as_str(), rate.to_string().as_str()), (tbf, text));
        }
        for broken in ["", "10", "gbit", "-1gbit", "1.5gbit", "10kbit", "0mbit", "401gbit", "99999999999gbit"]
        {
            assert!(broken.parse::<Rate>().is_err(), "{broken}");
        }
    }
}
