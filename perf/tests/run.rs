//! The whole runner on the target that needs no other binary.

mod runner;

use std::process::Command;

use serde_json::Value;

use runner::PROGRAM;

/// One of each family that is driven in a way of its own.
const WORKLOADS: [&str; 10] = [
    "iperf3-bidir",
    "bulk",
    "bulk-reverse",
    "ping-pong-32-1k",
    "mixed-others-bulk-first",
    "slow-reader",
    "connect-warm",
    "connect-cold",
    "first-byte",
    "storm",
];

#[test]
fn every_kind_of_workload_is_measured_in_every_round() {
    let test = "every_kind_of_workload_is_measured_in_every_round";
    if !runner::makes_namespaces(test) {
        return;
    }
    let workloads = WORKLOADS.join(",");
    let (page, report) =
        runner::run(test, &["--rounds", "2", "--targets", "direct", "--workloads", &workloads]);
    let samples = report["samples"].as_array().expect("invariant: samples are a list");
    assert_eq!(samples.len(), 2 * WORKLOADS.len(), "two rounds");
    for sample in samples {
        let figures = &sample["figures"];
        let moved = ["throughput_gbps", "rate_per_s", "latency_p50_us"].map(|key| figures[key].as_f64());
        assert!(moved.iter().any(|&figure| figure > Some(0.0)), "{sample}");
        assert!(figures["failures"].as_f64().unwrap_or(0.0) == 0.0, "{sample}");
        assert_eq!(figures["cpu_s_per_gb"], Value::Null, "nothing runs that uses CPU");
        assert_eq!(sample["wire"]["tunnel_bytes"], 0);
        assert!(sample["wire"]["plain_bytes"].as_u64() > Some(0), "{sample}");
    }
    for workload in WORKLOADS {
        assert!(page.contains(workload), "{page}");
    }
}

#[test]
fn a_target_that_is_not_there_is_an_error() {
    let output =
        Command::new(PROGRAM).args(["run", "--targets", "ringway", "--ringway", "/nonexistent"]).output();
    let output = output.expect("invariant: cargo built the program for this test");
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("/nonexistent") || errors.contains("root"), "{errors}");
}

/// Between two places of the user's, no root is needed, and what is wrong is said before anything is started.
#[test]
fn what_could_not_be_measured_or_written_is_said_at_once() {
    let endpoints = ["--client-exec", "false", "--server-exec", "false", "--server-address", "192.0.2.1"];
    for (arguments, fault) in [
        (["--seconds", "inf"], "nothing to measure in inf seconds"),
        (["--warm-up", "1e30"], "a warm-up of"),
        (["--rounds", "0"], "nothing to measure in 0 rounds"),
        (["--rounds", "1001"], "give up to 1000"),
        (["--cores", "99999"], "core 99999 is not one that this process may use"),
        (["--json", "/nonexistent/run.json"], "no directory to write /nonexistent/run.json to"),
    ] {
        let output = Command::new(PROGRAM).arg("run").args(endpoints).args(arguments).output();
        let output = output.expect("invariant: cargo built the program for this test");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(fault), "{arguments:?}: {errors}");
    }
}

#[test]
fn when_nothing_is_left_the_reason_is_told() {
    let endpoints = ["--client-exec", "false", "--server-exec", "false", "--server-address", "192.0.2.1"];
    let output = Command::new(PROGRAM).arg("run").args(endpoints).args(["--workloads", "churn"]).output();
    let output = output.expect("invariant: cargo built the program for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    let expected = "nothing is left to measure (churn: it needs 2 pairs of pods: --pairs)";
    assert!(output.status.code() == Some(1) && errors.contains(expected), "{errors}");
}

#[test]
fn a_report_that_nobody_reads_is_an_error_and_no_panic() {
    let (reader, writer) = std::io::pipe().expect("invariant: a test may open a pipe");
    drop(reader);
    let mut command = Command::new(PROGRAM);
    command.args(["page", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/made-up.json")]).stdout(writer);
    let output =
        command.stderr(std::process::Stdio::piped()).spawn().and_then(|page| page.wait_with_output());
    let output = output.expect("invariant: cargo built the program for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("printing the report"), "{errors}");
}
