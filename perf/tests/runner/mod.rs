//! Runs `ringway-perf run` for a moment.

use std::process::Command;

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// Whether namespaces can be made. Where not, `test` is said to be incomplete.
pub(crate) fn makes_namespaces(test: &str) -> bool {
    let is_root = testkit::run::is_root();
    if !is_root {
        eprintln!("INCOMPLETE: {test}: network namespaces need root");
    }
    is_root
}

/// What it printed and the JSON it wrote. The name of the test is that of the file.
pub(crate) fn run(test: &str, arguments: &[&str]) -> (String, Value) {
    let json = std::env::temp_dir().join(format!("ringway-perf-{test}-{}.json", std::process::id()));
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--seconds", "0.2", "--warm-up", "0.1", "--json"]).arg(&json).args(arguments);
    let output = command.output().expect("invariant: cargo built the program for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = std::fs::read(&json).expect("invariant: it writes the file before it succeeds");
    std::fs::remove_file(&json).expect("invariant: it was just read");
    let report = serde_json::from_slice(&report).expect("invariant: what it writes is JSON");
    (String::from_utf8_lossy(&output.stdout).into_owned(), report)
}
