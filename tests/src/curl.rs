//! curl inside a pod.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// What curl reported of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    pub status: u16,
    pub body_bytes: u64,
    pub connect: Duration,
    pub total: Duration,
}

/// Fetches `url` from inside `netns`.
pub fn fetch(netns: &Netns, url: &str) -> Result<Fetched> {
    let format = "%{http_code} %{size_download} %{time_connect} %{time_total}";
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--globoff", "--max-time", "60"]);
    command.args(["--output", "/dev/null", "--write-out", format, url]);
    let report = netns.output(&mut command)?;
    parse(&report).with_context(|| format!("curl reported {report:?}"))
}

fn parse(report: &str) -> Result<Fetched> {
    let mut fields = report.split_whitespace();
    let mut next = || fields.next().context("too few fields");
    Ok(Fetched {
        status: next()?.parse()?,
        body_bytes: next()?.parse()?,
        connect: Duration::try_from_secs_f64(next()?.parse()?)?,
        total: Duration::try_from_secs_f64(next()?.parse()?)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_report_is_read() {
        let fetched = parse("200 65536 0.000212 0.001530").unwrap();
        assert_eq!((fetched.status, fetched.body_bytes), (200, 65536));
        assert_eq!(fetched.total, Duration::from_micros(1530));
        assert!(parse("200 65536").is_err());
    }
}
