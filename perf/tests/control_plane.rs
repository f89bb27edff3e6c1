//! The commands that measure the control plane, on the ringway that was built beside them.

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// What it printed; `None` where nobody may make namespaces, or there is no ringway.
fn measure(name: &str, arguments: &[&str]) -> Option<String> {
    let ringway = testkit::proxy::ringway_binary().ok().filter(|_| testkit::run::is_root());
    let Some(ringway) = ringway else {
        eprintln!("INCOMPLETE: {name}: it needs root and a ringway (RINGWAY_BIN)");
        return None;
    };
    let output = Command::new(PROGRAM).args(arguments).arg("--ringway").arg(ringway).output();
    let output = output.expect("invariant: cargo built the program for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // How far it is.
    assert!(["1/1 p99.9 ", "3/3 pods "].iter().any(|news| errors.contains(news)), "{errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_push_is_measured_with_and_without() {
    let push = ["push", "--workloads", "100", "--rounds", "1", "--seconds", "1"];
    let Some(page) = measure("a_push_is_measured_with_and_without", &push) else { return };
    assert!(page.contains("| | one round |\n"), "{page}");
    for row in ["p50 alone", "p99.9 beside", "longest turn beside", "push, ms", "peak RSS"] {
        assert!(page.contains(row), "{row}: {page}");
    }
}

#[test]
fn what_could_not_be_measured_is_said_at_once() {
    for (arguments, fault) in [
        (&["push", "--workloads", "0"][..], "nothing to push with 0 workloads"),
        (&["push", "--rounds", "0"], "nothing to measure in 0 rounds"),
        (&["push", "--seconds", "0"], "nothing to measure in 0 seconds"),
        (&["push", "--threads", "0"], "needs a worker thread"),
        (&["push", "--ringway", "/nonexistent"], "there is no /nonexistent: build it first"),
        (&["pods", "--pods", "0"], "nothing to measure with 0 pods"),
        (&["pods", "--threads", "0"], "needs a worker thread"),
        (&["pods", "--streams", "129"], "iperf3 has up to 128"),
        (&["pods", "--ringway", "/nonexistent"], "there is no /nonexistent: build it first"),
    ] {
        let output = Command::new(PROGRAM).args(arguments).output();
        let output = output.expect("invariant: cargo built the program for this test");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(fault), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn pods_that_come_are_measured() {
    let pods = ["pods", "--pods", "3", "--streams", "1"];
    let Some(page) = measure("pods_that_come_are_measured", &pods) else { return };
    for figure in ["3 pods, one every 40 ms, a bulk stream at", "| median ms | longest ms |", "listening"] {
        assert!(page.contains(figure), "{figure}: {page}");
    }
}
