//! The whole runner on the target that needs no other binary.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// Runs it for a moment; what it printed and the JSON it wrote.
fn run(arguments: &[&str], json: &Path) -> (String, Value) {
    let output = Command::new(PROGRAM)
        .args(["run", "--rounds", "2", "--seconds", "0.2", "--warm-up", "0.1", "--json"])
        .arg(json)
        .args(arguments)
        .output();
    let output = output.expect("invariant: cargo built the program for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = std::fs::read_to_string(json).expect("invariant: it writes the file before it succeeds");
    let report = serde_json::from_str(&report).expect("invariant: what it writes is JSON");
    (String::from_utf8_lossy(&output.stdout).into_owned(), report)
}

#[test]
fn every_workload_is_measured_in_every_round() {
    if !testkit::run::is_root() {
        eprintln!("INCOMPLETE: every_workload_is_measured_in_every_round: network namespaces need root");
        return;
    }
    let json = std::env::temp_dir().join(format!("ringway-perf-test-{}.json", std::process::id()));
    let (page, report) = run(&["--targets", "direct"], &json);
    std::fs::remove_file(&json).expect("invariant: it was just read");
    let samples = report["samples"].as_array().expect("invariant: samples are a list");
    assert_eq!(samples.len(), 12, "six workloads, two rounds");
    for sample in samples {
        let figures = &sample["figures"];
        let moved =
            figures["throughput_gbps"].as_f64() > Some(0.0) || figures["rate_per_s"].as_f64() > Some(0.0);
        assert!(moved, "{sample}");
        assert_eq!(figures["cpu_s_per_gb"], Value::Null, "nothing runs that uses CPU");
        assert_eq!(sample["wire"]["tunnel_bytes"], 0);
        assert!(sample["wire"]["plain_bytes"].as_u64() > Some(0), "{sample}");
    }
    for workload in ["bulk", "bulk-reverse", "ping-pong", "mixed-ping-first", "mixed-bulk-first", "connect"] {
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
