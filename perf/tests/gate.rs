//! The gate on live builds: one that was slowed on purpose does not pass, and where it was slowed is not a matter of code
//! in the product.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// The ringway that was built beside the program under test.
fn ringway() -> Option<PathBuf> {
    let beside = Path::new(PROGRAM).with_file_name("ringway");
    std::env::var_os("RINGWAY_BIN").map(PathBuf::from).or(Some(beside)).filter(|path| path.is_file())
}

fn gate(arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM).arg("gate").args(arguments).output();
    output.expect("invariant: cargo built the program for this test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The same binary on a wire of four megabits a second: less than one that is not slowed carries, however busy the machine.
fn slowed(ringway: &Path, directory: &Path) -> PathBuf {
    let wrapper = directory.join("slowed");
    // It is asked for its version outside of the pods, whose wires alone are slowed.
    let slow_wire = "tc qdisc replace dev eth0 root tbf rate 4mbit burst 16kb latency 400ms";
    let script = format!(
        "#!/bin/sh\nset -e\nif [ \"$(ip netns identify)\" ]; then {slow_wire}; fi\nexec {} \"$@\"\n",
        ringway.display()
    );
    fs::write(&wrapper, script).expect("invariant: the directory was just made");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("invariant: the file is ours");
    wrapper
}

#[test]
fn a_build_that_was_slowed_on_purpose_fails() {
    let Some(ringway) = ringway().filter(|_| testkit::run::is_root()) else {
        eprintln!(
            "INCOMPLETE: a_build_that_was_slowed_on_purpose_fails: it needs root and a ringway (RINGWAY_BIN)"
        );
        return;
    };
    let directory = std::env::temp_dir().join(format!("ringway-gate-test-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("invariant: the temporary directory can be written to");
    let (slow, json) = (slowed(&ringway, &directory), directory.join("run.json"));
    let [ringway, slow, json] = [&ringway, &slow, &json].map(|path| path.to_string_lossy().into_owned());
    let what = ["--workloads", "bulk", "--rounds", "5", "--seconds", "0.5", "--warm-up", "0.2"];
    let live = gate(&[&["--base-binary", &ringway, "--head", &slow, "--json", &json], &what[..]].concat());
    let page = text(&live.stdout);
    assert_eq!(live.status.code(), Some(1), "{page}{}", text(&live.stderr));
    assert!(page.contains("| bulk | throughput") && page.contains("LOST"), "{page}");
    assert!(page.contains("FAILED"), "{page}");
    // The run that it wrote down gets the same verdict. Where somebody allows more it has lost nothing, and does not pass
    // either: a stream as slow as that has no CPU for each GB to compare.
    let recorded = gate(&["--recorded", &json]);
    assert_eq!(recorded.status.code(), Some(1), "{}", text(&recorded.stdout));
    let allowed = ["throughput_gbps", "cpu_s_per_gb", "rss_mb"].map(|key| format!("--threshold={key}=99.99"));
    let lenient = gate(&[&["--recorded", &json], &allowed.each_ref().map(String::as_str)[..]].concat());
    assert_eq!(lenient.status.code(), Some(2), "{}", text(&lenient.stdout));
    assert!(text(&lenient.stderr).contains("CPU of bulk (UNJUDGED)"), "{}", text(&lenient.stderr));
    // Of three rounds nobody can tell, which is no loss and no pass.
    let report = fs::read(&json).expect("invariant: the gate wrote it");
    let mut report: Value = serde_json::from_slice(&report).expect("invariant: what it writes is JSON");
    let samples = report["samples"].as_array_mut().expect("invariant: samples are a list");
    samples.retain(|sample| sample["round"].as_u64() < Some(3));
    report["cut_short"] = serde_json::json!({ "whole_rounds": 3 });
    fs::write(&json, report.to_string()).expect("invariant: the directory is ours");
    let few = gate(&["--recorded", &json]);
    assert_eq!(few.status.code(), Some(2), "{}", text(&few.stdout));
    assert!(
        text(&few.stderr).contains("no verdict: 3 of 5 rounds can't show a loss"),
        "{}",
        text(&few.stderr)
    );
    fs::remove_dir_all(&directory).expect("invariant: it was just made");
}

#[test]
fn what_can_not_be_judged_is_an_error_of_its_own() {
    for (arguments, word) in [
        (&["--recorded", "/nonexistent.json"][..], "/nonexistent.json"),
        (&["--base", "main", "--threshold", "speed=3"][..], "speed"),
        (&["--rounds", "5"][..], "--base"),
        (&["--base", "HEAD", "--rounds", "4"][..], "fewer than 5 rounds"),
        (&["--base-binary", "/bin/true", "--workloads", "none"][..], "no workload is called \"none\""),
    ] {
        let output = gate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
}
