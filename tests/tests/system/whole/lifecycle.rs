//! Proxies that come and go: killed, restarted, drained; pods that come while they run.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::capture::Capture;
use testkit::lab::{Lab, PodSpec};
use testkit::mesh::{MeshOptions, two_pods};
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{PATIENCE_TIMEOUT, connect, read, transfer};

use crate::needs;

const PORT: u16 = 8080;
const ECHO_PORT: u16 = 8081;

/// One exchange with an echo server.
fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"are you there?")?;
    stream.read_exact(&mut [0; 14])
}

#[test]
fn a_killed_peer_ends_its_connections_and_a_restarted_one_serves_at_once() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let _echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
    for node in [1, 0] {
        let mut stream = connect(&client.netns, (server.ipv4, ECHO_PORT)).unwrap();
        echo(&mut stream).unwrap();
        mesh.kill(node).unwrap();
        let end = read(&stream, &mut [0]).map_err(|error| error.kind());
        // What the other side cut off must not look like an end that was meant. The client's own proxy can do nothing
        // any more: then it is the kernel that closes.
        let is_cut = end == Err(ErrorKind::ConnectionReset) || node == 0 && end == Ok(0);
        assert!(is_cut, "proxy {node} killed: {end:?}");
        mesh.restart(node).unwrap();
        let mut stream = connect(&client.netns, (server.ipv4, ECHO_PORT)).unwrap();
        echo(&mut stream).unwrap_or_else(|error| panic!("after the restart of proxy {node}: {error}"));
    }
}

#[test]
fn a_drained_proxy_finishes_what_runs_and_takes_nothing_new() {
    needs!(Ringway);
    let (lab, client, server) = two_pods().unwrap();
    let proxy = ProxyOptions::default().environment("CONNECTION_TERMINATION_DEADLINE", "60s");
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _exchange = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    let echo_server = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
    let mut standing = connect(&client.netns, (server.ipv4, ECHO_PORT)).unwrap();
    echo(&mut standing).unwrap();
    let running = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let watched = running.try_clone().unwrap();
    let transfer = thread::spawn(move || transfer::exchange(&running, 128 << 20));
    // Only what has been answered is running.
    assert_eq!(watched.peek(&mut [0]).unwrap(), 1);
    mesh.process(1).signal(Signal::SIGTERM).unwrap();
    // From some moment on nobody new gets in, though who is in stays.
    let refused = wait_until("a refusal", Duration::from_secs(20), || {
        let fresh = connect(&client.netns, (server.ipv4, ECHO_PORT));
        Ok(fresh.and_then(|mut fresh| Ok(echo(&mut fresh)?)).is_err().then_some(()))
    });
    refused.unwrap();
    echo(&mut standing).expect("the connection that was open is still served");
    let transferred = transfer.join().unwrap();
    transferred.unwrap_or_else(|error| panic!("the transfer that was running: {error}\n{}", mesh.written()));
    assert!(mesh.process(1).is_running(), "it waits for the connection that is open");
    drop(standing);
    let status = mesh.process(1).wait(PATIENCE_TIMEOUT).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(echo_server.ended_badly(), []);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    needs!(Ringway);
    let (lab, client, server) = two_pods().unwrap();
    let proxy = ProxyOptions::default().environment("CONNECTION_TERMINATION_DEADLINE", "3600s");
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
    let mut standing = connect(&client.netns, (server.ipv4, ECHO_PORT)).unwrap();
    echo(&mut standing).unwrap();
    mesh.process(0).signal(Signal::SIGTERM).unwrap();
    // Sent again until it is seen as the second: two that come at once are one.
    let ended = wait_until("its end", Duration::from_secs(20), || {
        let process = mesh.process(0);
        if process.is_running() {
            process.signal(Signal::SIGTERM)?;
        }
        Ok((!process.is_running()).then_some(()))
    });
    ended.unwrap();
}

#[test]
fn a_pod_that_comes_later_is_captured_like_the_others() {
    needs!(Ringway);
    let (mut mesh, client, _server) = crate::start_two_pods();
    let late = mesh.enrol(1, PodSpec::new("late")).unwrap();
    let _exchange = Server::start(&late.netns, PORT, Service::Exchange).unwrap();
    let capture = Capture::of_pod(&mesh.lab, &late).unwrap();
    // Its listeners are open; that the other node's proxy has read of it too may take a moment more.
    let stream = wait_until("the new pod to be reached", Duration::from_secs(20), || {
        let stream = connect(&client.netns, (late.ipv4, PORT))?;
        Ok(transfer::exchange(&stream, 1 << 20).is_ok().then_some(()))
    });
    stream.unwrap();
    let back =
        connect(&late.netns, (client.ipv4, PORT)).and_then(|stream| Ok(transfer::exchange(&stream, 1)?));
    assert!(back.is_err(), "nobody listens there");
    let wire = capture.finish().unwrap();
    let last = wire.flows.last().unwrap();
    assert!(last.is_tunnel(), "{last:?}");
}

#[test]
fn a_pod_that_goes_leaves_no_socket_behind() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let node = lab.add_node().unwrap();
    let client = lab.add_pod(&node, PodSpec::new("client")).unwrap();
    let mut mesh = crate::start(lab, MeshOptions::default());
    let before = mesh.process(0).open_fds().unwrap();
    let short = mesh.enrol(0, PodSpec::new("short")).unwrap();
    let echo_server = Server::start(&short.netns, ECHO_PORT, Service::Echo).unwrap();
    let mut stream = connect(&client.netns, (short.ipv4, ECHO_PORT)).unwrap();
    echo(&mut stream).unwrap();
    assert!(mesh.process(0).open_fds().unwrap() > before);
    mesh.dismiss(0, &short).unwrap();
    // Its end of the connection is gone at once, and so is every socket in its namespace.
    assert!(matches!(read(&stream, &mut [0]), Err(_) | Ok(0)));
    drop((stream, echo_server));
    let closed = wait_until("every descriptor to be closed", Duration::from_secs(20), || {
        Ok((mesh.process(0).open_fds()? <= before).then_some(()))
    });
    closed.unwrap();
    mesh.expect_running().unwrap();
}
