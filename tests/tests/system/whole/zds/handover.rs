//! A rolling update: two proxies side by side on one node, the second ready before the first is told to end.

use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;
use testkit::planes::node_agent::{Answer, Enroller};

use super::*;
use crate::needs;

/// New connections a second, all callers together.
const RATE: u32 = 500;
const CALLERS: u32 = 10;
const REPLACEMENTS: usize = 5;

#[test]
fn no_new_connection_fails_while_one_proxy_replaces_another() {
    needs!(Ringway);
    let (mut site, agent) = Site::enrolled();
    let mut standing = site.connect();
    let mut written = String::new();
    let (ended, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (client, server) = (Arc::clone(&site.client), Arc::clone(&site.server));
    let failures: Vec<String> = thread::scope(|scope| {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| scope.spawn(|| call_steadily(&client, &server, &ended, &calls))).collect();
        let replaced = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..REPLACEMENTS {
                written += &replace(&mut site, &agent, &mut standing);
            }
        }));
        ended.store(true, Ordering::Release);
        replaced.unwrap_or_else(|panic| resume_unwind(panic));
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let calls = calls.into_inner();
    written += &site.proxy.written();
    let told: Vec<&str> = written.lines().filter(|line| line.contains("error=")).collect();
    println!("{calls} connections over {REPLACEMENTS} replacements, {} failed", failures.len());
    assert!(failures.is_empty(), "of {calls} failed: {failures:#?}\nthe proxies say: {told:#?}");
    assert!(calls > 0);
}

/// Starts the next proxy, waits until it is ready, ends the one before, and waits until the agent has been called anew;
/// what the one before wrote.
fn replace(site: &mut Site, agent: &Enroller, standing: &mut TcpStream) -> String {
    let snapshots = agent.snapshots();
    let mut next = site.second();
    next.wait_for_line(&["pod added", &site.client.uid], PATIENCE).unwrap();
    next.wait_for_line(&["pod added", &site.server.uid], PATIENCE).unwrap();
    site.wait_ready(true);
    echo(standing).unwrap();
    assert_eq!(agent.snapshots(), snapshots + 1, "two proxies must not take the agent from each other");
    site.proxy.signal(Signal::SIGTERM).unwrap();
    wait_until("the next proxy to call again", PATIENCE, || {
        Ok((agent.snapshots() == snapshots + 2).then_some(()))
    })
    .unwrap();
    // What was open stays with the proxy that has it, until it ends.
    echo(standing).unwrap();
    standing.shutdown(Shutdown::Both).unwrap();
    let mut last = std::mem::replace(&mut site.proxy, next);
    let status = last.wait(PATIENCE).unwrap();
    assert!(status.success(), "{status}\n{}", last.written());
    *standing = site.connect();
    site.wait_ready(true);
    last.written()
}

/// One caller's share of the rate; what went wrong.
fn call_steadily(client: &Pod, server: &Pod, ended: &AtomicBool, calls: &AtomicUsize) -> Vec<String> {
    client.netns.enter(|| {
        let mut failures = Vec::new();
        let begin = Instant::now();
        for number in 0.. {
            if ended.load(Ordering::Acquire) {
                break;
            }
            let due = begin + Duration::from_secs(1) * CALLERS / RATE * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let called = connect_here((server.ipv4, PORT).into()).and_then(|mut stream| echo(&mut stream));
            calls.fetch_add(1, Ordering::AcqRel);
            if let Err(error) = called {
                failures.push(format!("{error} after {:?}", begin.elapsed()));
            }
        }
        failures
    })
}

/// The agent hears the old proxy ack a pod that is not in the snapshot it gave the new one: it is not said again until
/// the new one asks.
#[test]
fn what_the_old_proxy_acked_is_asked_for_when_it_is_gone() {
    needs!(Ringway);
    let mut site = Site::new();
    let [client, server] = site.pods();
    let agent = site.agent();
    let with_old = agent.accept().unwrap();
    with_old.announce([&client]).unwrap();
    site.wait_ready(true);
    let mut next = site.second();
    let with_new = agent.accept().unwrap();
    with_new.announce([&client]).unwrap();
    assert_eq!(with_old.add(&server).unwrap(), Answer::Ack);
    assert_eq!(next.lines_with(&["pod added", &server.uid]), [] as [&str; 0]);
    site.wait_ready(true);

    site.proxy.signal(Signal::SIGTERM).unwrap();
    let anew = agent.accept().unwrap();
    // The agent ends the connection before as soon as it waits for nothing there; what it had begun to say is heard.
    assert_eq!(with_new.add(&client).unwrap(), Answer::Ack);
    drop(with_new);
    let with_new = anew;
    with_new.announce([&client, &server]).unwrap();
    next.wait_for_line(&["pod added", &server.uid], PATIENCE).unwrap();
    site.proxy.wait(PATIENCE).unwrap();
    expect_captured(&site.server);
    site.wait_ready(true);
    call(&site.client, &site.server).unwrap();
    assert!(!with_new.is_answered().unwrap(), "once is enough");
}

/// The old proxy's connection is ended by the agent: it does not call again while the new one lives, and does after.
#[test]
fn a_proxy_that_is_replaced_comes_back_only_if_the_new_one_fails() {
    needs!(Ringway);
    let (site, agent, mut with_old) = Site::announced();
    let pods = site.pods();
    for _ in 0..2 {
        let mut next = site.second();
        let with_new = agent.accept().unwrap();
        drop(with_old);
        with_new.announce(&pods).unwrap();
        assert!(!agent.is_called().unwrap());
        call(&site.client, &site.server).unwrap();
        next.kill().unwrap();
        assert_eq!(with_new.answer().unwrap(), Answer::End);
        // The old one serves on, and takes the agent and its ports back.
        with_old = agent.accept().unwrap();
        with_old.announce(&pods).unwrap();
        site.wait_ready(true);
        // What the killed one had is gone when the kernel has closed its last socket.
        wait_until("connections to be served again", PATIENCE, || {
            Ok(call(&site.client, &site.server).is_ok().then_some(()))
        })
        .unwrap();
    }
}
