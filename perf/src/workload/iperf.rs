//! iperf3: throughput as everybody measures it.
//!
//! What it says of its own beginning comes when the test is over, so that is seen from its connections: the server begins
//! when it has accepted all streams. The window then opens when the warm-up, which iperf3 leaves out (`-O`), is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::shell::find_program;

use super::sockets::Sockets;
use super::timed::{self, whole_seconds, whole_warm_up};
use super::tool::Tool;
use super::{Outcome, Stage, Volume, Workload};
use crate::interrupt::{self, wait_until};
use crate::measure::Window;

/// iperf3's.
const PORT: u16 = 5201;

/// Streams that are not all there by then never will be.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the end of a test may take beyond its length.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// By when two ends that both write and do not read have filled their sockets.
const STUCK_AFTER: Duration = Duration::from_millis(200);

/// How often a test that goes both ways is begun until both ends agree: one of two attempts may fail.
const ATTEMPTS_MAX: usize = 20;

pub(super) const WORKLOADS: &[Workload] = &[
    Workload::of_a_pair(
        "iperf3-p1",
        "iperf3, one stream from client to server.",
        "iperf3 -c SERVER -t SECONDS -P 1 -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Forward(1)),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "iperf3-p4",
        "iperf3, four streams from client to server.",
        "iperf3 -c SERVER -t SECONDS -P 4 -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Forward(4)),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "iperf3-p8",
        "iperf3, eight streams from client to server.",
        "iperf3 -c SERVER -t SECONDS -P 8 -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Forward(8)),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "iperf3-p32",
        "iperf3, 32 streams from client to server.",
        "iperf3 -c SERVER -t SECONDS -P 32 -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Forward(32)),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "iperf3-reverse",
        "iperf3, one stream from server to client.",
        "iperf3 -c SERVER -t SECONDS -R -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Reverse),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "iperf3-bidir",
        "iperf3, one stream each way at once.",
        "iperf3 -c SERVER -t SECONDS --bidir -J -O WARM_UP",
        |stage, window| drive(stage, window, Streams::Bidirectional),
    )
    .needing(unavailable),
];

fn unavailable() -> Option<String> {
    find_program("iperf3").is_none().then(|| "iperf3 is not installed: cargo xtask install-tools".to_owned())
}

/// Which way they go.
#[derive(Clone, Copy, Debug)]
enum Streams {
    /// So many, to the server.
    Forward(usize),
    Reverse,
    Bidirectional,
}

impl Streams {
    fn argument(self) -> String {
        match self {
            Self::Forward(count) => format!("-P {count}"),
            Self::Reverse => "-R".to_owned(),
            Self::Bidirectional => "--bidir".to_owned(),
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Forward(count) => count,
            Self::Reverse => 1,
            Self::Bidirectional => 2,
        }
    }
}

fn drive(stage: &Stage<'_>, window: &mut Window<'_>, streams: Streams) -> Result<Outcome> {
    timed::attempt(|| measure(stage, window, streams))
}

/// Runs a test. `None` when its window was missed.
fn measure(stage: &Stage<'_>, window: &mut Window<'_>, streams: Streams) -> Result<Option<Outcome>> {
    let (seconds, warm_up) = (whole_seconds(stage.seconds), whole_warm_up(stage.warm_up_seconds));
    let (_, _, dial) = stage.pair(0);
    let options = format!("-t {} {} -J -O {}", seconds.as_secs(), streams.argument(), warm_up.as_secs());
    let mut test = Running::start_crossed_right(stage, &options, streams, warm_up)?;
    window.generators([test.server.pid(), test.client.pid()]);
    let open = timed::measure(window, test.begun, warm_up, seconds)?;
    let ended = test.client.finish(END_TIMEOUT)?;
    test.server.expect_running()?;
    let measured = Measured::parse(&ended.stdout);
    let measured = measured.with_context(|| format!("iperf3 -c {dial} {options}\n{}", ended.stderr))?;
    Ok(open.map(|open| measured.outcome(open)))
}

/// A test under way.
#[derive(Debug)]
struct Running {
    server: Tool,
    client: Tool,
    begun: Instant,
}

impl Running {
    /// With both ends in agreement about which connection goes which way. iperf3 takes the first that arrives for the
    /// client's sending (its issue 2029), and through two tunnels the second may arrive first. Then both ends write on the
    /// same connection, nobody reads, and the test stands still to its end; so it is begun anew.
    fn start_crossed_right(
        stage: &Stage<'_>,
        options: &str,
        streams: Streams,
        warm_up: Duration,
    ) -> Result<Self> {
        let (_, server, _) = stage.pair(0);
        for _ in 0..ATTEMPTS_MAX {
            let running = Self::start(stage, options, streams)?;
            if !matches!(streams, Streams::Bidirectional) {
                return Ok(running);
            }
            interrupt::sleep(warm_up.max(STUCK_AFTER).saturating_sub(running.begun.elapsed()))?;
            if !Sockets::look(&server.place())?.is_stuck(PORT) {
                return Ok(running);
            }
        }
        bail!("{ATTEMPTS_MAX} times iperf3's two streams arrived in the wrong order (its issue 2029)")
    }

    /// Returns when the server has accepted all streams.
    fn start(stage: &Stage<'_>, options: &str, streams: Streams) -> Result<Self> {
        let (client, server, dial) = stage.pair(0);
        let mut listening = Tool::serve(&server.place(), "iperf3", "--server --forceflush", PORT)?;
        let mut sending = Tool::start(&client.place(), "iperf3", &format!("-c {dial} {options}"))?;
        let begun = wait_until("iperf3 to begin", BEGIN_TIMEOUT, || {
            listening.expect_running()?;
            // With -J it says on its standard output what went wrong.
            sending.expect_running()?;
            // One more than the streams carries the commands.
            // A look may take long where much happens, so its beginning counts.
            let begun = Instant::now();
            let connections = Sockets::look(&server.place())?.accepted(PORT);
            Ok((connections > streams.count()).then_some(begun))
        })?;
        Ok(Self { server: listening, client: sending, begun })
    }
}

/// What arrived at the receivers, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    /// One way; in a test that goes both ways that to the server.
    bits_per_s: f64,
    /// The other way, where a test goes both ways.
    back_bits_per_s: Option<f64>,
}

impl Measured {
    /// Reads what `iperf3 -J` wrote.
    fn parse(json: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(json).with_context(|| format!("it wrote {json:?}"))?;
        if let Some(error) = report.get("error") {
            bail!("it failed: {error}");
        }
        let end = &report["end"];
        let received = |sum: &str| -> Result<f64> {
            let bits = end[sum]["bits_per_second"].as_f64().with_context(|| format!("no {sum} in it"))?;
            ensure!(bits > 0.0, "its streams stood still");
            Ok(bits)
        };
        let goes_back = end.get("sum_received_bidir_reverse").is_some();
        Ok(Self {
            bits_per_s: received("sum_received")?,
            back_bits_per_s: goes_back.then(|| received("sum_received_bidir_reverse")).transpose()?,
        })
    }

    /// Of a window that was open for so many seconds of the test.
    fn outcome(self, seconds: f64) -> Outcome {
        let both = self.bits_per_s + self.back_bits_per_s.unwrap_or_default();
        let bytes = both / 8.0 * seconds;
        let mut figures = BTreeMap::from([("throughput_gbps", self.bits_per_s / 1e9)]);
        if let Some(back) = self.back_bits_per_s {
            figures.insert("throughput_back_gbps", back / 1e9);
        }
        Outcome { volume: Volume::Bytes(bytes), payload_bytes: bytes as u64, figures, curve: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// From iperf 3.12, `-t 1 -P 2 -J -O 1`, without its intervals and streams.
    const FORWARD: &str = r#"{"start": {"version": "iperf 3.12", "test_start": {"protocol": "TCP", "num_streams": 2,
        "omit": 1, "duration": 1, "reverse": 0}}, "intervals": [], "end": {
        "sum_sent": {"start": 0, "end": 0.999734, "seconds": 0.999734, "bytes": 2673868800,
            "bits_per_second": 21396641906.7472, "retransmits": 4, "sender": true},
        "sum_received": {"start": 0, "end": 1.000128, "seconds": 1.000128, "bytes": 2675310698,
            "bits_per_second": 21399746416.4587, "sender": true}}}"#;

    /// The same with `--bidir`.
    const BIDIRECTIONAL: &str = r#"{"start": {"version": "iperf 3.12"}, "intervals": [], "end": {
        "sum_sent": {"seconds": 1.000455, "bytes": 1823211520, "bits_per_second": 14579058688.296824},
        "sum_received": {"seconds": 1.000002, "bytes": 1828061184, "bits_per_second": 14624460223.079554},
        "sum_sent_bidir_reverse": {"seconds": 1.000455, "bytes": 522977280, "bits_per_second": 4181915468.46185},
        "sum_received_bidir_reverse": {"seconds": 1.000002, "bytes": 509739114,
            "bits_per_second": 4077904756.1904874}}}"#;

    #[test]
    fn what_arrived_counts_and_not_what_was_sent() {
        let forward = Measured::parse(FORWARD).unwrap().outcome(10.0);
        let figures = |outcome: &Outcome| {
            outcome
                .figures
                .iter()
                .map(|(&key, value)| (key, (value * 100.0).round() / 100.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(figures(&forward), [("throughput_gbps", 21.4)]);
        assert_eq!(forward.payload_bytes, 26_749_683_020);
        let both = Measured::parse(BIDIRECTIONAL).unwrap().outcome(10.0);
        assert_eq!(figures(&both), [("throughput_back_gbps", 4.08), ("throughput_gbps", 14.62)]);
        assert_eq!(both.payload_bytes, 23_377_956_224);
    }

    #[test]
    fn what_went_wrong_is_told_in_its_words() {
        let refused =
            r#"{"start": {}, "end": {}, "error": "unable to connect to server: Connection refused"}"#;
        let still = FORWARD.replace("21399746416.4587", "0");
        for (json, words) in [
            (refused, "Connection refused"),
            (&still, "stood still"),
            ("{}", "no sum_received"),
            ("iperf3: error", "it wrote"),
        ] {
            let error = format!("{:#}", Measured::parse(json).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn streams_are_those_of_the_command() {
        for (workload, streams) in WORKLOADS.iter().zip([
            Streams::Forward(1),
            Streams::Forward(4),
            Streams::Forward(8),
            Streams::Forward(32),
            Streams::Reverse,
            Streams::Bidirectional,
        ]) {
            assert!(workload.command.contains(&format!(" {} ", streams.argument())), "{workload:?}");
        }
    }
}
