//! Sessions as they should be: what each request does, and what it leaves alone.

use testkit::capture::Capture;
use testkit::lab::PodSpec;
use testkit::planes::node_agent::{Announcement, Answer};
use testkit::process::wait_until;
use testkit::traffic::read;

use super::*;
use crate::needs;

#[test]
fn the_pods_of_an_agent_are_carried_and_encrypted() {
    needs!(Ringway);
    let (site, agent) = Site::with_enroller();
    // The empty snapshot is one too.
    site.wait_ready(true);
    agent.enrol(&site.client).unwrap();
    agent.enrol(&site.server).unwrap();
    let capture = Capture::of_pod(&site.lab, &site.server).unwrap();
    drop(site.connect());
    let wire = capture.finish().unwrap();
    assert!(wire.between(&site.client.addresses(), &site.server.addresses()).is_encrypted(28), "{wire:?}");

    agent.dismiss(&site.server).unwrap();
    expect_left(&site.server);
    assert_eq!(redirect::dump(&site.server.netns).unwrap().matches("CILIUM").count(), 0);
}

#[test]
fn an_ack_means_listening_and_ready_means_all() {
    needs!(Ringway);
    let site = Site::new();
    let [client, server] = site.pods();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    for (announced, pod) in [(&client, &site.client), (&server, &site.server)] {
        expect_left(pod);
        assert_eq!(connection.add(announced).unwrap(), Answer::Ack);
        expect_captured(pod);
        assert!(!site.is_ready(), "the snapshot has not ended");
    }
    assert_eq!(connection.snapshot_sent().unwrap(), Answer::Ack);
    site.wait_ready(true);
    drop(site.connect());
}

#[test]
fn a_pod_announced_again_goes_on_and_one_with_another_namespace_begins_anew() {
    needs!(Ringway);
    let (mut site, _agent, connection) = Site::announced();
    let [client, server] = site.pods();
    let mut standing = site.connect();
    for announced in [&client, &server, &client] {
        assert_eq!(connection.add(announced).unwrap(), Answer::Ack);
    }
    echo(&mut standing).expect("what is announced again goes on");

    // A pod sandbox that was made anew: the same uid, another namespace.
    let node = Arc::clone(&site.node);
    let other = site.lab.add_pod(&node, PodSpec::new("other")).unwrap();
    let replaced = Announcement { netns: Announcement::of(&other).unwrap().netns, ..server };
    assert_eq!(connection.add(&replaced).unwrap(), Answer::Ack);
    assert!(matches!(read(&standing, &mut [0]), Err(_) | Ok(0)), "the old pod is closed");
    expect_left(&site.server);
    expect_captured(&other);
    expect_captured(&site.client);
}

#[test]
fn a_pod_that_is_taken_away_leaves_no_socket_and_an_unknown_one_is_no_fault() {
    needs!(Ringway);
    let site = Site::new();
    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce([]).unwrap();
    let before = site.proxy.open_fds().unwrap();
    for announced in &site.pods() {
        assert_eq!(connection.add(announced).unwrap(), Answer::Ack);
    }
    let standing = site.connect();
    assert_eq!(connection.del("00000000-0000-4000-8000-ffffffffffff").unwrap(), Answer::Ack);
    for pod in [&site.server, &site.client] {
        assert_eq!(connection.del(&pod.uid).unwrap(), Answer::Ack);
        expect_left(pod);
    }
    assert!(matches!(read(&standing, &mut [0]), Err(_) | Ok(0)));
    let closed = wait_until("every descriptor to be closed", PATIENCE, || {
        Ok((site.proxy.open_fds()? <= before).then_some(()))
    });
    closed.unwrap();
    assert!(site.is_ready());
}

#[test]
fn while_the_agent_is_gone_pods_are_carried_and_its_next_snapshot_changes_nothing() {
    needs!(Ringway);
    let (site, agent, connection) = Site::announced();
    let pods = site.pods();
    let mut standing = site.connect();
    drop((connection, agent));
    site.wait_ready(false);
    for _ in 0..20 {
        call(&site.client, &site.server).unwrap();
    }
    echo(&mut standing).unwrap();

    let agent = site.agent();
    let connection = agent.accept().unwrap();
    connection.announce(&pods).unwrap();
    site.wait_ready(true);
    echo(&mut standing).expect("the same connection, before and after");
    call(&site.client, &site.server).unwrap();
    assert_eq!(site.proxy.lines_with(&["pod removed"]), [] as [&str; 0]);
}

#[test]
fn who_is_not_in_a_snapshot_leaves_at_its_end_and_who_is_kept_stays() {
    needs!(Ringway);
    let (site, agent, connection) = Site::announced();
    let [client, server] = site.pods();
    let mut standing = site.connect();
    drop(connection);

    // Kept: the agent has lost its namespace, and it goes on.
    let connection = agent.accept().unwrap();
    assert_eq!(connection.keep(&server.uid).unwrap(), Answer::Ack);
    connection.announce([&client]).unwrap();
    echo(&mut standing).unwrap();
    drop(connection);

    // Not named at all.
    let connection = agent.accept().unwrap();
    assert_eq!(connection.add(&client).unwrap(), Answer::Ack);
    echo(&mut standing).expect("not before the end of the snapshot");
    assert_eq!(connection.snapshot_sent().unwrap(), Answer::Ack);
    expect_left(&site.server);
    assert!(matches!(read(&standing, &mut [0]), Err(_) | Ok(0)), "cut at once");
    expect_captured(&site.client);
}

/// The order of an uninstall: rules away, then the pod, then the proxy. New connections work all along, at last without
/// anybody between.
#[test]
fn pods_that_leave_the_mesh_in_order_are_reached_all_along() {
    needs!(Ringway);
    let (mut site, agent) = Site::enrolled();
    wait_until("the mesh to carry", PATIENCE, || Ok(call(&site.client, &site.server).is_ok().then_some(())))
        .unwrap();
    for leaving in [&site.client, &site.server] {
        agent.dismiss(leaving).unwrap();
        for _ in 0..20 {
            call(&site.client, &site.server).unwrap();
        }
        expect_left(leaving);
    }
    drop(agent);
    site.proxy.kill().unwrap();
    call(&site.client, &site.server).unwrap();
    for pod in [&site.client, &site.server] {
        assert_eq!(redirect::dump(&pod.netns).unwrap().matches("CILIUM").count(), 0);
    }
}
