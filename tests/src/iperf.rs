//! iperf3 between two pods.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::netns::Netns;
use crate::process::{Process, wait_until};

pub const IPERF_PORT: u16 = 5201;

/// How long the server may take to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server says that has not ended the test before. It ends a moment after its client does.
const SERVER_BUSY: &str = "the server is busy running a test";

/// How long it may take to.
const SERVER_BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running `iperf3 --server`.
#[derive(Debug)]
pub struct IperfServer {
    _process: Process,
}

impl IperfServer {
    /// Starts it; returns when it accepts connections.
    pub fn start(netns: &Netns) -> Result<Self> {
        let mut command = Command::new("iperf3");
        command.args(["--server", "--port", &IPERF_PORT.to_string()]);
        let mut process = Process::start("iperf3", netns, &mut command)?;
        wait_until("iperf3 to listen", LISTEN_TIMEOUT, || {
            process.expect_running()?;
            // Asking the kernel and not the server: a connection would be its one test.
            let sockets = netns.run("ss --tcp --listening --numeric --no-header")?;
            Ok(sockets.contains(&format!(":{IPERF_PORT} ")).then_some(()))
        })?;
        Ok(Self { _process: process })
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Iperf {
    pub streams: u32,
    pub seconds: u32,
    /// From the server to the client.
    pub reverse: bool,
}

/// What it measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    pub bytes: u64,
    pub bits_per_second: f64,
}

impl Iperf {
    /// Runs the client inside `netns` against a server at `address`.
    pub fn run(&self, netns: &Netns, address: IpAddr) -> Result<Throughput> {
        let mut command = Command::new("iperf3");
        command.args(["--json", "--client", &address.to_string(), "--port", &IPERF_PORT.to_string()]);
        command.args(["--parallel", &self.streams.to_string(), "--time", &self.seconds.to_string()]);
        command.args(["--connect-timeout", "10000"]);
        if self.reverse {
            command.arg("--reverse");
        }
        // iperf3 reports its errors in the JSON too, so its exit status says less than its output.
        let tested = wait_until("the test before to end", SERVER_BUSY_TIMEOUT, || {
            let output = netns.enter(|| command.output())?;
            let written = String::from_utf8_lossy(&output.stdout);
            if written.contains(SERVER_BUSY) { Ok(None) } else { parse(&written).map(Some) }
        });
        tested.with_context(|| format!("{command:?}"))
    }
}

fn parse(json: &str) -> Result<Throughput> {
    let report: Value = serde_json::from_str(json).with_context(|| format!("iperf3 wrote {json:?}"))?;
    if let Some(error) = report.get("error").and_then(Value::as_str) {
        bail!("iperf3: {error}");
    }
    // What the receiver counted is what arrived.
    let received = report.pointer("/end/sum_received").context("no end/sum_received")?;
    Ok(Throughput {
        bytes: received.get("bytes").and_then(Value::as_u64).context("no bytes")?,
        bits_per_second: received
            .get("bits_per_second")
            .and_then(Value::as_f64)
            .context("no bits_per_second")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_receiver_counted_is_reported() {
        let json = r#"{"end": {"sum_sent": {"bytes": 9, "bits_per_second": 9.5},
            "sum_received": {"bytes": 7, "bits_per_second": 7.5}}}"#;
        assert_eq!(parse(json).unwrap(), Throughput { bytes: 7, bits_per_second: 7.5 });
    }

    #[test]
    fn an_error_of_iperf3_is_an_error() {
        let error = parse(r#"{"start": {}, "error": "unable to connect"}"#).unwrap_err().to_string();
        assert!(error.contains("unable to connect"), "{error}");
        assert!(parse("not json").is_err());
        assert!(parse(r#"{"end": {}}"#).is_err());
    }
}
