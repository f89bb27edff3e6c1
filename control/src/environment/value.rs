//! The values that variables take: booleans, durations, quantities, marks, lists of cores.
//!
//! Each parser's error says what is accepted; the caller adds the variable's name and value.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::engine::tls::{Suite, Suites};

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Whether a variable says `true`, in any case.
pub(super) fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

/// The units of a duration, longest name first where one is the beginning of another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
    ("w", 7 * 86_400 * 1_000_000_000),
];

/// `5m`, `10s`, `500ms`, `1h30m`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refusal = || "must be a duration such as 5m, 10s, 500ms or 1h30m".to_owned();
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000).map(Duration::from_nanos).ok_or_else(refusal);
    }
    let mut rest = text;
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refusal)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refusal)?;
        let number: u64 = number.parse().map_err(|_| refusal())?;
        nanoseconds =
            number.checked_mul(*scale).and_then(|part| nanoseconds.checked_add(part)).ok_or_else(refusal)?;
        rest = tail;
    }
    if text.is_empty() { Err(refusal()) } else { Ok(Duration::from_nanos(nanoseconds)) }
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|value| {
        if value.is_zero() { Err("must be longer than nothing, such as 10s".to_owned()) } else { Ok(value) }
    })
}

/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` take whole seconds from 1 to this (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`); what
/// is below a second reads as 0, and every socket would refuse it.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;

/// A duration that the kernel takes for keepalive.
pub(super) fn keepalive_duration(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(KEEPALIVE_SECONDS_MAX)).contains(&value) {
        Ok(value)
    } else {
        Err(format!("must be from 1s to {KEEPALIVE_SECONDS_MAX}s: the kernel takes no other"))
    }
}

/// A number of cores as Kubernetes writes it (`2`, `1.5`, `500m`), in thousandths.
pub(super) fn millicores(text: &str) -> Result<u64, String> {
    let refusal = || "must be a number of cores such as 2, 1.5 or 500m".to_owned();
    if let Some(thousandths) = text.strip_suffix('m') {
        return thousandths.parse().map_err(|_| refusal());
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !decimal(whole) || !decimal(fraction) {
        return Err(refusal());
    }
    // Finer than a thousandth of a core is rounded up, as Kubernetes does.
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    let finer = fraction.bytes().skip(3).any(|digit| digit != b'0');
    let whole: u64 = whole.parse().map_err(|_| refusal())?;
    let thousandths: u64 = padded.parse().map_err(|_| refusal())?;
    whole
        .checked_mul(1_000)
        .and_then(|cores| cores.checked_add(thousandths + u64::from(finer)))
        .ok_or_else(refusal)
}

/// A packet mark, decimal or with `0x`. Zero would mark nothing.
pub(super) fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    parsed
        .ok()
        .filter(|mark| *mark != 0)
        .ok_or_else(|| "must be a number from 1 to 4294967295, such as 1337 or 0x539".to_owned())
}

/// A whole number within bounds, both included.
pub(super) fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// Cipher suites in the order of preference: `aes128,aes256`. Each once.
pub(super) fn suites(text: &str) -> Result<Suites, String> {
    let refusal =
        || "must be aes128, aes256, or both with the preferred one first, such as aes256,aes128".to_owned();
    let suite = |name: &str| match name.trim() {
        "aes128" => Ok(Suite::Aes128Gcm),
        "aes256" => Ok(Suite::Aes256Gcm),
        _ => Err(refusal()),
    };
    let (first, second) = text.split_once(',').map_or((text, None), |(first, second)| (first, Some(second)));
    let suites = Suites { preferred: suite(first)?, second: second.map(suite).transpose()? };
    if suites.second == Some(suites.preferred) { Err(refusal()) } else { Ok(suites) }
}

/// Cores by number: `0,2-3`. Each once, in the order given.
pub(super) fn core_list(text: &str) -> Result<Vec<usize>, String> {
    let refusal = || "must be off, spread, or cores such as 0,2-3, each once".to_owned();
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| refusal())?;
        let last: usize = last.trim().parse().map_err(|_| refusal())?;
        if first > last || last >= CORE_NUMBER_MAX {
            return Err(refusal());
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(refusal());
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// No Linux has a core of this number (`NR_CPUS` is at most 8,192): a bound on what a range in a list can unfold to.
const CORE_NUMBER_MAX: usize = 8_192;

/// An address with or without a port.
pub(super) fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| "must be an address such as 127.0.0.1, [::1]:15021 or ::".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5m", 300_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("7", 7_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "5 m", "-5s", "1.5h", "m5", "99999999999999999999s", "999999999w"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0s").is_err());
        assert!(positive_duration("1ns").is_ok());
    }

    #[test]
    fn quantities() {
        for (text, thousandths) in [
            ("2", 2_000),
            ("1.5", 1_500),
            ("500m", 500),
            ("0.25", 250),
            ("0", 0),
            ("0.0001", 1),
            ("3.1415", 3_142),
        ] {
            assert_eq!(millicores(text), Ok(thousandths), "{text}");
        }
        for text in ["", "m", "1.", ".5", "two", "-1", "1.5m", "18446744073709551615"] {
            assert!(millicores(text).is_err(), "{text}");
        }
    }

    #[test]
    fn marks() {
        assert_eq!(mark("1337"), Ok(0x539));
        assert_eq!(mark("0x539"), Ok(1337));
        for text in ["0", "0x0", "-1", "0x", "4294967296", "mark"] {
            assert!(mark(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(core_list("3"), Ok(vec![3]));
        assert_eq!(core_list("0,2-4"), Ok(vec![0, 2, 3, 4]));
        assert_eq!(core_list("5, 1"), Ok(vec![5, 1]));
        for text in ["", "a", "1,", "3-1", "1,1", "0-2,2", "0-999999999"] {
            assert!(core_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn orders_of_suites() {
        let (aes128, aes256) = (Suite::Aes128Gcm, Suite::Aes256Gcm);
        for (text, preferred, second) in [
            ("aes128,aes256", aes128, Some(aes256)),
            ("aes256, aes128", aes256, Some(aes128)),
            ("aes256", aes256, None),
        ] {
            assert_eq!(suites(text), Ok(Suites { preferred, second }), "{text}");
        }
        for text in ["", "aes", "AES128", "aes128,", "aes128,aes128", "aes128,aes256,aes128", "chacha20"] {
            assert!(suites(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("127.0.0.1", 15021).unwrap().to_string(), "127.0.0.1:15021");
        assert_eq!(address("::1", 15021).unwrap().to_string(), "[::1]:15021");
        assert_eq!(address("[::1]:9", 15021).unwrap().to_string(), "[::1]:9");
        assert!(address("localhost", 15021).is_err());
    }

    #[test]
    fn booleans() {
        assert_eq!((boolean("true"), boolean("False")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
