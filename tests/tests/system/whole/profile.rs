//! A CPU profile of a proxy that carries traffic, taken over its admin port.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use prost::Message;
use proto::profile::Profile;
use testkit::lab::Node;
use testkit::run::Run;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::steady::Steady;
use testkit::traffic::{connect, transfer};

use crate::needs;

const ECHO_PORT: u16 = 8080;
const EXCHANGE_PORT: u16 = 8081;
/// New connections a second.
const RATE: u32 = 200;
/// What a stream moves each way while the profile is taken, and longer.
const MOVING_BYTES: u64 = 1 << 30;

/// Writes what the node's proxy answers to the file.
pub(super) fn take(node: &Node, query: &str, file: &Path) -> Profile {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "120", "--output"]).arg(file);
    command.arg(format!("http://127.0.0.1:15000/debug/pprof/profile?{query}"));
    node.netns.output(&mut command).unwrap();
    Profile::decode(&*fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_profile_under_traffic_names_functions_and_no_connection_fails() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let _echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
    let _exchange = Server::start(&server.netns, EXCHANGE_PORT, Service::Exchange).unwrap();
    let steady = Steady::start(&client.netns, (server.ipv4, ECHO_PORT), RATE);
    let stream = connect(&client.netns, (server.ipv4, EXCHANGE_PORT)).unwrap();
    let moving = thread::spawn(move || transfer::exchange(&stream, MOVING_BYTES));

    let file = Run::current().unwrap().unique_directory("profile").unwrap().join("cpu.pb");
    let profile = take(&mesh.lab.nodes()[0], "seconds=2&frequency=1000", &file);
    let named = |start: &str| profile.string_table.iter().filter(|text| text.starts_with(start)).count();
    let (ours, ciphers) = (named("engine::"), named("aws_lc"));
    assert!(ours > 0 && ciphers > 0, "{} stacks, {ours} functions, {ciphers}", profile.sample.len());
    let fds = fs::read_dir(format!("/proc/{}/fd", mesh.process(0).pid())).unwrap();
    let fds = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let left: Vec<_> = fds.filter(|open| open.to_string_lossy().contains("/.tmp") && open.exists()).collect();
    assert!(left.is_empty(), "the profiler leaves {left:?}");
    moving.join().unwrap().unwrap();
    let made = steady.finish().unwrap();
    assert!(made.connections > 0);
    mesh.expect_running().unwrap();

    let top = Command::new("go").args(["tool", "pprof", "-top"]).arg(&file).output();
    let Ok(top) = top else {
        return crate::report_incomplete("a profile read by `go tool pprof`: there is no go in the path");
    };
    let text = String::from_utf8_lossy(&top.stdout);
    assert!(
        top.status.success() && text.contains(" engine::"),
        "{text}{}",
        String::from_utf8_lossy(&top.stderr)
    );
    assert!(text.contains("Type: cpu"), "{text}");
}
