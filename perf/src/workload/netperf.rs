//! netperf: latency and throughput as the public comparison measures them.
//!
//! It has no warm-up, so the same test runs before for as long as that lasts. Its data connection goes to a port of our
//! choice, since the one it would choose itself may be among those that a mesh leaves alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::shell::find_program;

use super::timed::{self, whole_seconds, whole_warm_up};
use super::tool::Tool;
use super::{Outcome, Stage, Volume, Workload};
use crate::measure::Window;

/// netserver's.
const CONTROL_PORT: u16 = 12_865;
/// The next one, for no other reason.
const DATA_PORT: u16 = 12_866;

/// When a test runs after its client was started: two round trips, far less than this.
const BEGIN_LATEST: Duration = Duration::from_millis(150);

/// What the end of a test may take beyond its length.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A message of a request-response test and its answer have one byte.
const EXCHANGE_BYTES: f64 = 2.0;

/// The figures that the public comparison asks for, in its order.
const LATENCY_OUTPUT: &str =
    "-O min_latency,mean_latency,max_latency,p99_latency,stddev_latency,transaction_rate";

/// The keys of those.
const LATENCY_KEYS: [&str; 6] = [
    "latency_min_us",
    "latency_mean_us",
    "latency_max_us",
    "latency_p99_us",
    "latency_stddev_us",
    "rate_per_s",
];

pub(super) const WORKLOADS: &[Workload] = &[
    Workload::of_a_pair(
        "netperf-rr",
        "netperf, a byte each way again and again on one connection.",
        "netperf -H SERVER -t TCP_RR -l SECONDS -- -P ,12866 \
         -O min_latency,mean_latency,max_latency,p99_latency,stddev_latency,transaction_rate",
        |stage, window| drive(stage, window, Test::RequestResponse),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "netperf-stream",
        "netperf, one stream from client to server.",
        "netperf -H SERVER -t TCP_STREAM -l SECONDS -- -P ,12866",
        |stage, window| drive(stage, window, Test::Stream),
    )
    .needing(unavailable),
    Workload::of_a_pair(
        "netperf-crr",
        "netperf, a connection for a byte each way, one after the other.",
        "netperf -H SERVER -t TCP_CRR -l SECONDS -- -P ,12866",
        |stage, window| drive(stage, window, Test::ConnectRequestResponse),
    )
    .needing(unavailable),
];

fn unavailable() -> Option<String> {
    let is_missing = ["netperf", "netserver"].iter().any(|program| find_program(program).is_none());
    is_missing.then(|| "netperf is not installed: cargo xtask install-tools".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    RequestResponse,
    Stream,
    ConnectRequestResponse,
}

impl Test {
    fn arguments(self, seconds: Duration) -> String {
        let (name, output) = match self {
            Self::RequestResponse => ("TCP_RR", LATENCY_OUTPUT),
            Self::Stream => ("TCP_STREAM", ""),
            Self::ConnectRequestResponse => ("TCP_CRR", ""),
        };
        format!("-t {name} -l {} -- -P ,{DATA_PORT} {output}", seconds.as_secs())
    }

    /// The figures in what netperf wrote.
    fn figures(self, written: &str) -> Result<BTreeMap<&'static str, f64>> {
        let figures: BTreeMap<_, _> = match self {
            Self::RequestResponse => LATENCY_KEYS.into_iter().zip(row::<6>(written)?).collect(),
            // Receive and send socket bytes, message bytes, seconds, 10^6 bits/s.
            Self::Stream => {
                let [.., megabits] = row::<5>(written)?;
                BTreeMap::from([("throughput_gbps", megabits / 1e3)])
            }
            // Send and receive socket bytes, request and response bytes, seconds, transactions/s.
            Self::ConnectRequestResponse => {
                let [.., rate] = row::<6>(written)?;
                BTreeMap::from([("rate_per_s", rate)])
            }
        };
        ensure!(figures.values().all(|&value| value >= 0.0), "it counted less than nothing:\n{written}");
        let moved = figures.get("throughput_gbps").or_else(|| figures.get("rate_per_s"));
        ensure!(moved.is_some_and(|&moved| moved > 0.0), "its connections stood still:\n{written}");
        Ok(figures)
    }
}

/// The first line of so many numbers and nothing else.
fn row<const COLUMNS: usize>(written: &str) -> Result<[f64; COLUMNS]> {
    let rows = written.lines().filter_map(|line| {
        let numbers: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        <[f64; COLUMNS]>::try_from(numbers.ok()?).ok()
    });
    rows.into_iter()
        .next()
        .with_context(|| format!("no line of {COLUMNS} numbers in what it wrote:\n{written}"))
}

fn drive(stage: &Stage<'_>, window: &mut Window<'_>, test: Test) -> Result<Outcome> {
    let warm_up = whole_warm_up(stage.warm_up_seconds);
    if !warm_up.is_zero() {
        let (_server, client, _) = start(stage, test, warm_up)?;
        written(client, warm_up)?;
    }
    timed::attempt(|| measure(stage, window, test))
}

/// Runs a test. `None` when its window was missed.
fn measure(stage: &Stage<'_>, window: &mut Window<'_>, test: Test) -> Result<Option<Outcome>> {
    let seconds = whole_seconds(stage.seconds);
    let (mut listening, running, begun) = start(stage, test, seconds)?;
    window.generators([listening.pid(), running.pid()]);
    let open = timed::measure(window, begun, BEGIN_LATEST, seconds - BEGIN_LATEST)?;
    let figures = test.figures(&written(running, seconds)?)?;
    listening.expect_running()?;
    Ok(open.map(|open| outcome(figures, open)))
}

/// A test's server, its client, and when that began. The server is fresh: one that served a test before listens for the
/// data of that a while longer.
fn start(stage: &Stage<'_>, test: Test, seconds: Duration) -> Result<(Tool, Tool, Instant)> {
    let (client, server, dial) = stage.pair(0);
    let listening = Tool::serve(&server.place(), "netserver", "-D -f", CONTROL_PORT)?;
    let arguments = format!("-H {dial} {}", test.arguments(seconds));
    let begun = Instant::now();
    Ok((listening, Tool::start(&client.place(), "netperf", &arguments)?, begun))
}

/// What a test wrote that began a while ago or just now.
fn written(running: Tool, seconds: Duration) -> Result<String> {
    let ended = running.finish(seconds + END_TIMEOUT)?;
    ensure!(ended.is_success, "netperf failed:\n{}{}", ended.stdout, ended.stderr);
    Ok(ended.stdout)
}

/// Of a window that was open for so many seconds of the test.
fn outcome(figures: BTreeMap<&'static str, f64>, seconds: f64) -> Outcome {
    let throughput = figures.get("throughput_gbps").map(|gbps| gbps * 1e9 / 8.0 * seconds);
    let operations = figures.get("rate_per_s").map_or(0.0, |rate| rate * seconds);
    let (volume, payload_bytes) = match throughput {
        Some(bytes) => (Volume::Bytes(bytes), bytes),
        None => (Volume::Operations(operations), operations * EXCHANGE_BYTES),
    };
    Outcome { volume, payload_bytes: payload_bytes as u64, figures, curve: Vec::new() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::figure;

    // From netperf 2.7.0.
    const RR: &str = "\
MIGRATED TCP REQUEST/RESPONSE TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 12866 AF_INET : demo : first burst 0
Minimum      Mean         Maximum      99th         Stddev       Transaction 
Latency      Latency      Latency      Percentile   Latency      Rate        
Microseconds Microseconds Microseconds Latency      Microseconds Tran/s      
                                       Microseconds                          
15           49.23        4499         139          67.94        20273.189   
";
    const STREAM: &str = "\
MIGRATED TCP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 12866 AF_INET : demo
Recv   Send    Send                          
Socket Socket  Message  Elapsed              
Size   Size    Size     Time     Throughput  
bytes  bytes   bytes    secs.    10^6bits/sec  

131072  16384  16384    1.00     16595.38   
";
    const CRR: &str = "\
MIGRATED TCP Connect/Request/Response TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 12866 AF_INET : demo
Local /Remote
Socket Size   Request  Resp.   Elapsed  Trans.
Send   Recv   Size     Size    Time     Rate         
bytes  Bytes  bytes    bytes   secs.    per sec   

16384  131072 1        1       1.00     7867.73   
16384  131072
";

    #[test]
    fn figures_are_read_from_its_tables() {
        let figures = Test::RequestResponse.figures(RR).unwrap();
        assert_eq!(LATENCY_KEYS.map(|key| figures[key]), [15.0, 49.23, 4499.0, 139.0, 67.94, 20273.189]);
        assert_eq!(
            Test::Stream.figures(STREAM).unwrap(),
            BTreeMap::from([("throughput_gbps", 16_595.38 / 1e3)])
        );
        let crr = Test::ConnectRequestResponse.figures(CRR).unwrap();
        assert_eq!(crr, BTreeMap::from([("rate_per_s", 7867.73)]));
        assert!(LATENCY_KEYS.iter().all(|key| figure::of(key).is_some()));
    }

    #[test]
    fn what_was_moved_is_what_was_measured() {
        let stream = outcome(Test::Stream.figures(STREAM).unwrap(), 2.0);
        assert_eq!(stream.payload_bytes, 4_148_845_000);
        let crr = outcome(Test::ConnectRequestResponse.figures(CRR).unwrap(), 100.0);
        assert_eq!((crr.volume, crr.payload_bytes), (Volume::Operations(786_773.0), 1_573_546));
    }

    #[test]
    fn anything_else_is_an_error_with_what_it_wrote() {
        let still = RR.replace("20273.189", "0.000");
        for (written, words) in
            [("establish control: refused", "refused"), (&still, "stood still"), ("", "6 numbers")]
        {
            let error = Test::RequestResponse.figures(written).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_commands_are_those_of_the_table() {
        let tests = [Test::RequestResponse, Test::Stream, Test::ConnectRequestResponse];
        for (workload, test) in WORKLOADS.iter().zip(tests) {
            let arguments = test.arguments(Duration::from_secs(30)).replace("-l 30", "-l SECONDS");
            assert_eq!(workload.command, format!("netperf -H SERVER {}", arguments.trim_end()));
        }
    }
}
