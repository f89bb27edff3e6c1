//! Two places that the user names by what stands before a command, here `ip netns exec NAME`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::netns::Netns;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");
const SERVER: &str = "10.99.0.2";

fn joined() -> (Netns, Netns) {
    let client = Netns::new("client").expect("invariant: we are root");
    let server = Netns::new("server").expect("invariant: we are root");
    let wire = format!("link add eth0 type veth peer name eth0 netns {}\n", server.name());
    client.ip_batch(&wire).expect("invariant: every kernel here has veth");
    for (netns, address) in [(&client, "10.99.0.1"), (&server, SERVER)] {
        let lines = format!("addr add {address}/24 dev eth0\nlink set eth0 up\n");
        netns.ip_batch(&lines).expect("invariant: the device was just made");
    }
    (client, server)
}

fn run(client_exec: &str, server_exec: &str, arguments: &[&str]) -> Output {
    // The program is in the path of a place, as it is in the pods of deploy/perf.
    let own = Path::new(PROGRAM).parent().expect("invariant: a program is in a directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [own.to_owned()].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(paths).expect("invariant: they were split where they are joined");
    let mut command = Command::new(PROGRAM);
    command.env("PATH", path).args(["run", "--rounds", "1", "--seconds", "0.2", "--warm-up", "0.1"]);
    command.args(["--client-exec", client_exec, "--server-exec", server_exec, "--server-address", SERVER]);
    command.args(arguments).output().expect("invariant: cargo built the program for this test")
}

#[test]
fn what_stands_between_two_places_is_measured() {
    if !testkit::run::is_root() {
        eprintln!("INCOMPLETE: what_stands_between_two_places_is_measured: network namespaces need root");
        return;
    }
    let (client, server) = joined();
    let prefix = |netns: &Netns| format!("ip netns exec {}", netns.name());
    let json = std::env::temp_dir().join(format!("ringway-perf-endpoints-{}.json", std::process::id()));
    let file = json.display().to_string();
    let workloads = "ping-pong-32-64,bulk,connect-cold";
    let chosen = ["--workloads", workloads, "--name", "two-namespaces", "--json", &file];
    let output = run(&prefix(&client), &prefix(&server), &chosen);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read(&json).expect("invariant: it writes the file before it succeeds");
    std::fs::remove_file(&json).expect("invariant: it was just read");
    let report: Value = serde_json::from_slice(&report).expect("invariant: what it writes is JSON");
    let subject = &report["targets"][0];
    assert_eq!((&subject["name"], &subject["encryption"]), (&"two-namespaces".into(), &"unproven".into()));
    assert!(
        subject["build"]["notes"].as_str().is_some_and(|notes| notes.contains("server: Linux")),
        "{subject}"
    );
    let samples = report["samples"].as_array().expect("invariant: samples are a list");
    assert_eq!(samples.len(), 2, "{samples:?}");
    assert_eq!(report["left_out"][0]["what"], "connect-cold through two-namespaces");
    for sample in samples {
        let figures = &sample["figures"];
        let moved =
            figures["throughput_gbps"].as_f64() > Some(0.0) || figures["rate_per_s"].as_f64() > Some(0.0);
        assert!(moved, "{sample}");
        assert_eq!(figures["rss_mb"], Value::Null, "nothing there is ours to look at");
    }
    assert!(report["plan"]["site"].as_str().is_some_and(|site| site.contains(SERVER)), "{}", report["plan"]);
}

#[test]
fn a_place_that_is_not_there_is_an_error_that_names_it() {
    let output = run("ip netns exec nowhere", "ip netns exec nowhere", &["--workloads", "bulk"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("ip netns exec nowhere"), "{errors}");
}

#[test]
fn half_of_two_places_is_an_error() {
    for arguments in [&["--client-exec", "env"][..], &["--server-address", SERVER, "--pairs", "2"]] {
        let output = Command::new(PROGRAM).arg("run").args(arguments).output();
        let output = output.expect("invariant: cargo built the program for this test");
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
