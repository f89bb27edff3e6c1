//! Every target that this machine has: bytes go through it, and the wire shows what it promises.

mod runner;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::process::wait_until;

use runner::PROGRAM;

/// A moment of ping-pong through these targets; `None` where nobody may make namespaces.
fn report(name: &str, arguments: &[&str]) -> Option<Value> {
    let moment = ["--rounds", "1", "--workloads", WORKLOAD];
    runner::makes_namespaces(name).then(|| runner::run(name, &[&moment, arguments].concat()).1)
}

const WORKLOAD: &str = "ping-pong-32-64";

/// What crossed the client's link in a target's sample: in tunnels, and beside them. `None` if it was left out.
fn wire(report: &Value, target: &str) -> Option<(f64, f64)> {
    let samples = report["samples"].as_array().expect("invariant: samples are a list");
    let Some(sample) = samples.iter().find(|sample| sample["target"] == target) else {
        eprintln!("INCOMPLETE: {target} is left out: {}", report["left_out"]);
        return None;
    };
    assert!(sample["figures"]["rate_per_s"].as_f64() > Some(0.0), "{target}: {sample}");
    let bytes = |kind: &str| sample["wire"][kind].as_f64().expect("invariant: bytes are counted");
    Some((bytes("tunnel_bytes"), bytes("plain_bytes")))
}

fn expect_only_tunnels(report: &Value, target: &str) {
    if let Some((tunnel, plain)) = wire(report, target) {
        assert!(tunnel > 0.0 && plain == 0.0, "{target}: {tunnel} and {plain}");
    }
}

#[test]
fn what_goes_through_a_target_is_on_its_port_alone() {
    let targets = ["plain", "sealed", "haproxy", "wireguard"];
    let Some(report) = report("targets", &["--targets", &targets.join(",")]) else { return };
    for target in targets {
        expect_only_tunnels(&report, target);
    }
    let subjects = report["targets"].as_array().expect("invariant: targets are a list");
    for subject in subjects {
        let (name, suite) = (&subject["name"], &subject["suite"]);
        let expected = if name == "haproxy" { "TLS_AES_128_GCM_SHA256".into() } else { Value::Null };
        assert_eq!(*suite, expected, "{name}");
        let sweep = subject["build"]["notes"].as_str().is_some_and(|notes| notes.contains("best of a sweep"));
        assert_eq!(sweep, name == "sealed", "{subject}");
    }
}

#[test]
fn pods_may_be_of_one_node_and_behind_a_slow_underlay() {
    let layout = ["--same-node", "--pairs", "1", "--underlay", "vxlan", "--mtu", "1400", "--rate", "100mbit"];
    let Some(report) = report("layout", &[&["--targets", "direct,plain"], &layout[..]].concat()) else {
        return;
    };
    expect_only_tunnels(&report, "plain");
    let (tunnel, plain) = wire(&report, "direct").expect("invariant: nothing is needed for it");
    assert!(tunnel == 0.0 && plain > 0.0, "{tunnel} and {plain}");
    let site = "two pods of one node, 1 pair of pods, joined by veth, vxlan, MTU 1400, 100mbit";
    assert_eq!(report["plan"]["site"], site);
}

#[test]
fn an_underlay_that_the_kernel_lacks_is_no_error() {
    if !runner::makes_namespaces("an_underlay_that_the_kernel_lacks_is_no_error") {
        return;
    }
    let mut command = Command::new(PROGRAM);
    command.args([
        "run",
        "--targets",
        "direct",
        "--workloads",
        WORKLOAD,
        "--rounds",
        "1",
        "--seconds",
        "0.1",
    ]);
    let output = command.args(["--underlay", "geneve"]).output();
    let output = output.expect("invariant: cargo built the program for this test");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(
        said.contains("not available here: this kernel has no geneve") || said.contains("geneve, MTU"),
        "{said}"
    );
}

/// The server's namespace of this process's run, once the connections of the load are there.
fn loaded_server(owner: u32) -> anyhow::Result<Option<String>> {
    let prefix = format!("rw-{owner}-");
    let names = lines_of(&["netns", "list"]);
    let mut names = names.iter().filter_map(|line| line.split(' ').next());
    let Some(pod) = names.find(|name| name.starts_with(&prefix) && name.ends_with("server0")) else {
        return Ok(None);
    };
    let connections = lines_of(&["netns", "exec", pod, "ss", "-Htn", "state", "established"]);
    Ok((connections.len() >= 32).then(|| pod.to_owned()))
}

/// What `ip` says.
fn lines_of(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("invariant: namespaces are made by ip").stdout;
    String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_proxy_that_ends_is_an_error_and_not_tried_again() {
    if !runner::makes_namespaces("a_proxy_that_ends_is_an_error_and_not_tried_again") {
        return;
    }
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--targets", "plain", "--workloads", WORKLOAD, "--rounds", "1", "--seconds", "5"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let run = run.expect("invariant: cargo built the program for this test");
    let owner = run.id();
    let pod = wait_until("the load", Duration::from_secs(60), || loaded_server(owner));
    let pod = pod.expect("invariant: plain needs nothing");
    for pid in lines_of(&["netns", "pids", &pod]) {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.split('\0').nth(1) == Some("copy") {
            let killed = Command::new("kill").args(["-KILL", &pid]).status();
            assert!(killed.expect("invariant: every machine has kill").success());
        }
    }
    let output = run.wait_with_output().expect("invariant: it was started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains(" ended: signal: 9"), "{errors}");
}
