//! Agents that misbehave and pods that cannot be served: the proxy stays up, says so, and carries the others.

use std::fs::File;
use std::net::TcpListener;

use testkit::planes::node_agent::{Answer, PACKET_BYTES};
use testkit::process::wait_until;

use super::*;
use crate::needs;

/// An add without a descriptor, or with one too many; nonsense; too much and too little.
#[test]
fn what_cannot_be_followed_is_refused_and_changes_nothing_for_the_pods() {
    needs!(Ringway);
    let (mut site, agent, mut connection) = Site::announced();
    let pods = site.pods();
    let mut standing = site.connect();
    let before = site.proxy.open_fds().unwrap();
    let netns = File::open(site.server.netns.path()).unwrap();
    let other = File::open("/proc/self/status").unwrap();
    let (two, many) = ([&netns, &netns], vec![&netns; 200]);
    let add = pods[0].message();
    let no_info = [0x0a, 0x03, 0x0a, 0x01, b'1'];
    let too_long = [0x0a; PACKET_BYTES + 1];
    let cases: [(&str, &[u8], &[&File]); 11] = [
        ("an empty packet with a descriptor", &[], &[&netns]),
        ("a packet that is too long", &too_long, &[&netns]),
        ("no message", &[0xff, 0xff, 0xff], &[]),
        ("a message that nobody knows", &[0x7a, 0x00], &[]),
        ("an add without a namespace", &add, &[]),
        ("an add with two", &add, &two),
        ("an add with many", &add, &many),
        ("an add of no namespace", &add, &[&other]),
        ("an add without workload_info", &no_info, &[&netns]),
        ("a del with a namespace", &[0x12, 0x03, 0x12, 0x01, b'1'], &[&netns]),
        ("a second end of the snapshot", &[0x1a, 0x00], &[]),
    ];
    for (case, message, descriptors) in cases {
        connection.send(message, descriptors).unwrap();
        let answer = connection.answer().unwrap();
        assert!(matches!(&answer, Answer::Nack(error) if !error.is_empty()), "{case}: {answer:?}");
        assert_eq!(connection.answer().unwrap(), Answer::End, "{case}");
        connection = agent.accept().unwrap();
        connection.announce(&pods).unwrap_or_else(|error| panic!("after {case}: {error:#}"));
        echo(&mut standing).unwrap_or_else(|error| panic!("after {case}: {error}"));
    }
    drop((netns, other));
    wait_until("every descriptor to be closed", PATIENCE, || {
        Ok((site.proxy.open_fds()? <= before).then_some(()))
    })
    .unwrap();
    site.wait_ready(true);
    site.proxy.expect_running().unwrap();
}

/// Cilium's agent can fail every snapshot at one dead pod, until it is restarted.
#[test]
fn snapshots_that_break_off_drop_nobody_and_what_they_named_counts() {
    needs!(Ringway);
    let site = Site::new();
    let [client, server] = site.pods();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce([&client]).unwrap();
    drop(connection);
    // The server comes with a snapshot that breaks off behind it, and is served.
    let connection = agent.accept().unwrap();
    assert_eq!(connection.add(&server).unwrap(), Answer::Ack);
    drop(connection);
    let mut standing = site.connect();
    for named in 0..6 {
        let connection = agent.accept().unwrap();
        for pod in [&client, &server].into_iter().take(named % 3) {
            assert_eq!(connection.add(pod).unwrap(), Answer::Ack);
        }
        drop(connection);
        echo(&mut standing).unwrap();
        call(&site.client, &site.server).unwrap();
    }
    assert!(!site.is_ready(), "no snapshot has ended");
    assert_eq!(site.proxy.lines_with(&["pod removed"]), [] as [&str; 0]);
}

/// An agent that breaks off in the middle of an add.
#[test]
fn an_add_whose_answer_nobody_reads_counts() {
    needs!(Ringway);
    let site = Site::new();
    let [client, server] = site.pods();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.send(&server.message(), &[&server.netns]).unwrap();
    drop(connection);
    let connection = agent.accept().unwrap();
    assert_eq!(connection.keep(&server.uid).unwrap(), Answer::Ack);
    connection.announce([&client]).unwrap();
    drop(site.connect());
}

#[test]
fn a_pod_that_cannot_be_served_is_acked_and_served_when_it_can() {
    needs!(Ringway);
    let site = Site::new();
    let [client, server] = site.pods();
    // Whoever has the port lets nobody else have it.
    let squatter = site.server.netns.enter(|| TcpListener::bind("0.0.0.0:15008")).unwrap();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce([&server, &client]).unwrap();
    expect_captured(&site.client);
    assert_eq!(listening(&site.server), [15008]);
    assert!(!site.is_ready());
    // It is told once, however often others come.
    for _ in 0..20 {
        assert_eq!(connection.add(&client).unwrap(), Answer::Ack);
        assert_eq!(connection.add(&server).unwrap(), Answer::Ack);
    }
    let told = site.proxy.lines_with(&["pod not added", &server.uid]);
    assert!(told.len() == 1 && told[0].contains("15008"), "{told:?}");
    drop(squatter);
    site.wait_ready(true);
    expect_captured(&site.server);
    drop(site.connect());
}

#[test]
fn a_pod_without_ipv6_is_served_over_ipv4() {
    needs!(Ringway);
    let site = Site::new();
    for family in ["all", "default", "eth0", "lo"] {
        site.server.netns.sysctl(&format!("net/ipv6/conf/{family}/disable_ipv6"), "1").unwrap();
    }
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce(&site.pods()).unwrap();
    site.wait_ready(true);
    drop(site.connect());
}

#[test]
fn storms_of_connections_are_slowed_down_and_disturb_nobody() {
    needs!(Ringway);
    let (site, agent, connection) = Site::announced();
    let pods = site.pods();
    let mut standing = site.connect();
    drop(connection);
    let before = site.proxy.open_fds().unwrap();
    // Right after the hello, behind the snapshot, in the middle of it.
    for round in 0..9 {
        let connection = agent.accept().unwrap();
        match round % 3 {
            0 => {}
            1 => connection.announce(&pods).unwrap(),
            _ => _ = connection.add(&pods[0]).unwrap(),
        }
        drop(connection);
        echo(&mut standing).unwrap();
    }
    // Each pause is about twice the last: by now nobody calls for a second or two.
    assert!(!agent.is_called().unwrap());
    let connection = agent.accept().unwrap();
    connection.announce(&pods).unwrap();
    site.wait_ready(true);
    echo(&mut standing).unwrap();
    wait_until("every descriptor to be closed", PATIENCE, || {
        Ok((site.proxy.open_fds()? <= before + 1).then_some(()))
    })
    .unwrap();
}

/// An agent takes as long as it likes between two packets, and its pods do not wait for it.
#[test]
fn an_agent_that_stands_still_keeps_nothing_from_working() {
    needs!(Ringway);
    let site = Site::new();
    let [client, server] = site.pods();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    assert_eq!(connection.add(&client).unwrap(), Answer::Ack);
    assert_eq!(connection.add(&server).unwrap(), Answer::Ack);
    for _ in 0..20 {
        call(&site.client, &site.server).unwrap();
    }
    // It did not ask for anything.
    assert!(!connection.is_answered().unwrap());
    assert!(!agent.is_called().unwrap());
}

/// The agent may hold a lock until the ack that its authority needs for the certificate (contract 1.5): whoever waits
/// for the one with the other waits for ever.
#[test]
fn an_authority_that_never_answers_delays_no_ack() {
    needs!(Ringway);
    let mut site = Site::new();
    site.proxy.kill().unwrap();
    let held = site.node.netns.enter(|| TcpListener::bind("127.0.0.1:15999")).unwrap();
    site.proxy = start_with(&site.options, &site.directory, &site.authority, &site.node, |command| {
        command.env_remove("RINGWAY_CA_DIR").env("CA_ADDRESS", "http://127.0.0.1:15999");
    });
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce(&site.pods()).unwrap();
    expect_captured(&site.client);
    expect_captured(&site.server);
    site.wait_ready(true);
    // It has been asked, and says nothing.
    let (asked, _) = held.accept().unwrap();
    connection.del(&site.client.uid).unwrap().expect_ack().unwrap();
    connection.add(&site.pods()[0]).unwrap().expect_ack().unwrap();
    drop(asked);
}
