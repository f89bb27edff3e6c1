//! Two proxies on one node without an agent that would know: who started one twice is told.

use std::fs;
use std::time::Duration;

use testkit::lab::{Lab, PodSpec};
use testkit::mesh::{Extra, config};
use testkit::process::{Process, wait_until};
use testkit::proxy::{ProxyOptions, is_ready};
use testkit::run::Run;

use crate::needs;

const TELL_TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn a_second_proxy_succeeds_one_with_the_same_pods_and_tells_of_one_with_others() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let node = lab.add_node().unwrap();
    lab.add_pod(&node, PodSpec::new("pod")).unwrap();
    let directory = Run::current().unwrap().unique_directory("twice").unwrap();
    let xds = directory.join("local.yaml");
    config::write_xds(&xds, &lab, None, &Extra::default()).unwrap();
    let [pods, other_pods] = ["pods.yaml", "other.yaml"].map(|name| directory.join(name));
    config::write_pods(&pods, &lab, &node).unwrap();
    fs::copy(&pods, &other_pods).unwrap();
    let start = |name: &str, pods| {
        let mut command = ProxyOptions::default().ringway(&node, &xds, pods, &directory).unwrap();
        let mut process = Process::start(name, &node.netns, &mut command).unwrap();
        process.wait_for_line(&["pod added"], TELL_TIMEOUT).unwrap();
        process
    };

    let mut first = start("first", &pods);
    let mut second = start("second", &pods);
    let pid_of = |process: &Process| format!("pid={}", process.pid());
    second.wait_for_line(&["another proxy serves the same pods", &pid_of(&first)], TELL_TIMEOUT).unwrap();
    first
        .wait_for_line(&["another proxy has come to replace this one", &pid_of(&second)], TELL_TIMEOUT)
        .unwrap();
    assert_eq!(second.lines_with(&["listens there too"]), [] as [String; 0], "the ports are given up to it");
    second.kill().unwrap();
    first.wait_for_line(&["the proxy that was to replace this one has gone"], TELL_TIMEOUT).unwrap();
    let back = wait_until("its ports to be the first's again", TELL_TIMEOUT, || {
        Ok(node.netns.enter(is_ready).then_some(()))
    });
    back.unwrap();

    let mut third = start("third", &other_pods);
    third.wait_for_line(&["another proxy serves this pod as well", "pods file"], TELL_TIMEOUT).unwrap();
    for endpoint in ["admin", "stats", "readiness"] {
        let told = third.lines_with(&[&format!("{endpoint} address "), "another proxy listens there too"]);
        assert_eq!(told.len(), 1, "{}", third.written());
    }
    first.expect_running().unwrap();
    // It is the only one before long, and says so.
    first.kill().unwrap();
    third.wait_for_line(&["no other proxy serves this pod any more"], TELL_TIMEOUT).unwrap();
}
