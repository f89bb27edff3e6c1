//! Rule 3 and 4 of the driver: an operation can be ended at any moment, and its end is always heard of.

use super::*;
use std::io::{Read, Write};

/// Every kind of operation that waits forever, started on sockets of its own.
fn start_each(driver: &Driver) -> Vec<(&'static str, OpId, Box<dyn std::any::Any>)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [chatty, bulk, watch] = std::array::from_fn(|_| tcp_pair());
    let [send, writable] = std::array::from_fn(|_| unix_pair());
    fill(driver, &send.0);
    fill(driver, &writable.0);
    vec![
        ("accept", driver.accept(listener.as_fd(), Token(0)), Box::new(listener)),
        ("chatty", driver.recv(chatty.0.as_fd(), RecvMode::Chatty, Token(1)), Box::new(chatty)),
        ("bulk", driver.recv(bulk.0.as_fd(), RecvMode::Bulk, Token(2)), Box::new(bulk)),
        ("send", driver.send(send.0.as_fd(), vec![1; 100], 0..100, Token(3)), Box::new(send)),
        ("watch", driver.watch(watch.0.as_fd(), Token(4)), Box::new(watch)),
        ("writable", driver.writable(writable.0.as_fd(), Token(5)), Box::new(writable)),
    ]
}

fn is_cancelled(completion: &Completion) -> bool {
    let cancelled = |error: &io::Error| error.raw_os_error() == Some(libc::ECANCELED);
    match completion {
        Completion::Accepted { result: Err(error), more: false, .. } => cancelled(error),
        Completion::Received { result: Received::Cancelled, more: false, .. } => true,
        Completion::Sent { result: Err(error), sent: 0, buffer, .. } => {
            cancelled(error) && *buffer == [1; 100]
        }
        Completion::Polled { result: Err(error), .. } => cancelled(error),
        _ => false,
    }
}

#[test]
fn each_kind_can_be_cancelled_before_the_kernel_has_it() {
    let mut shard = Shard::new();
    let started = start_each(&shard.driver);
    let sqes = shard.driver.counters().sqes;
    for (_, op, _) in &started {
        shard.driver.cancel(*op);
    }
    shard.turn(true);
    assert_eq!(shard.told.len(), started.len());
    assert!(shard.told.iter().all(is_cancelled), "{:?}", shard.told);
    assert_eq!(shard.driver.in_flight(), 0);
    // The doorbell's poll only.
    assert_eq!(shard.driver.counters().sqes, sqes + 1);
}

#[test]
fn each_kind_can_be_cancelled_while_the_kernel_has_it() {
    let mut shard = Shard::new();
    let started = start_each(&shard.driver);
    shard.turn(false);
    assert!(shard.told.is_empty(), "{:?}", shard.told);
    for (_, op, _) in &started {
        shard.driver.cancel(*op);
        // Twice is no more than once.
        shard.driver.cancel(*op);
    }
    shard.turn_until(|told| told.len() == started.len());
    assert!(shard.told.iter().all(is_cancelled), "{:?}", shard.told);
    assert_eq!(shard.driver.in_flight(), 0);
    shard.turn(false);
    assert_eq!(shard.told.len(), started.len());
    assert_eq!(shard.driver.counters().cancels, started.len() as u64);
}

#[test]
fn each_kind_can_be_cancelled_within_the_turn_that_started_it() {
    let mut shard = Shard::new();
    shard.driver.timer(Instant::now(), Token(100));
    let driver = shard.driver.clone();
    let mut started = Vec::new();
    driver
        .turn(true, &mut |_| {
            started = start_each(&driver);
            started.iter().for_each(|(_, op, _)| driver.cancel(*op));
        })
        .unwrap();
    shard.turn_until(|told| told.len() == started.len());
    assert!(shard.told.iter().all(is_cancelled), "{:?}", shard.told);
}

#[test]
fn a_stale_id_does_not_reach_the_operation_that_took_its_place() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    let first = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.driver.cancel(first);
    assert!(matches!(shard.next_received(Token(1)), (Received::Cancelled, false)));
    let second = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(2));
    assert_ne!(first, second);
    shard.turn(false);
    shard.driver.cancel(first);
    far.write_all(b"still there").unwrap();
    let (Received::Data(lease), true) = shard.next_received(Token(2)) else { panic!() };
    assert_eq!(&*lease, b"still there");
    assert_eq!(shard.driver.counters().cancels, 1);
}

#[test]
fn nothing_that_arrived_is_lost_by_a_cancel() {
    // The cancel meets the data at every distance: before, in the same enter, after.
    for mode in [RecvMode::Chatty, RecvMode::Bulk] {
        for turns_between in 0..3 {
            let mut shard = Shard::poor();
            let (near, mut far) = tcp_pair();
            let op = shard.driver.recv(near.as_fd(), mode, Token(1));
            shard.turn(false);
            far.write_all(&pattern_bytes(1, 0..10_000)).unwrap();
            let mut seen = Vec::new();
            for _ in 0..turns_between {
                shard.turn(false);
            }
            shard.driver.cancel(op);
            let mut over = false;
            while !over {
                let (received, more) = shard.next_received(Token(1));
                over = !more;
                match received {
                    Received::Data(lease) => seen.extend_from_slice(&lease),
                    Received::Cancelled => {}
                    other => panic!("{other:?}"),
                }
            }
            let mut rest = vec![0; 10_000 - seen.len()];
            patient(&near).read_exact(&mut rest).unwrap();
            seen.extend_from_slice(&rest);
            assert!(seen == pattern_bytes(1, 0..10_000), "{mode:?} {turns_between}");
        }
    }
}

#[test]
fn a_cancelled_send_says_how_far_it_came() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    let op = shard.driver.send(near.as_fd(), pattern_bytes(1, 0..8 << 20), 5..8 << 20, Token(1));
    shard.turn(false);
    shard.driver.cancel(op);
    let (buffer, sent, result) = shard.next_sent(Token(1));
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert!(sent > 5 && sent < buffer.len(), "{sent}");
    drop(near);
    far.set_nonblocking(false).unwrap();
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived.len(), sent - 5);
    assert!(arrived == buffer[5..sent]);
}

#[test]
fn a_starving_receive_can_be_cancelled() {
    let mut shard = Shard::poor();
    let (near, mut far) = unix_pair();
    far.write_all(&[1; 8 * 1024]).unwrap();
    let op = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.turn_until(|told| told.len() == 4);
    shard.turn(false);
    assert_eq!(shard.driver.counters().starved, 1);
    shard.driver.cancel(op);
    shard.turn(true);
    assert!(matches!(shard.told.last(), Some(completion) if is_cancelled(completion)));
    shard.told.clear();
    shard.turn(false);
    assert!(shard.told.is_empty());
    assert_eq!(shard.driver.in_flight(), 0);
}

#[test]
fn a_cancel_that_did_not_find_its_operation_is_sent_again() {
    let mut shard = Shard::new();
    let (near, _far) = tcp_pair();
    let op = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.turn(false);
    // As if the kernel had answered ENOENT to a first cancel.
    shard.driver.inner.core.borrow_mut().ops.get_mut(op).unwrap().cancelled = true;
    shard.driver.inner.cancel_failed(op);
    assert!(matches!(shard.next_received(Token(1)), (Received::Cancelled, false)));
    // The operation has ended meanwhile: nothing to send again.
    shard.driver.inner.cancel_failed(op);
    assert_eq!(shard.driver.counters().cancels_again, 1);
}

#[test]
fn cancel_then_close_sends_fin_at_once() {
    let mut shard = Shard::new();
    let (near, far) = tcp_pair();
    let op = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.turn(false);
    shard.driver.cancel(op);
    assert!(matches!(shard.next_received(Token(1)), (Received::Cancelled, false)));
    drop(near);
    assert_eq!(patient(&far).read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn abort_is_linger_zero_after_the_cancel() {
    let mut shard = Shard::new();
    let (near, far) = tcp_pair();
    let op = shard.driver.recv(near.as_fd(), RecvMode::Bulk, Token(1));
    shard.turn(false);
    shard.driver.cancel(op);
    assert!(matches!(shard.next_received(Token(1)), (Received::Cancelled, false)));
    reset_on_close(&near);
    drop(near);
    assert_eq!(patient(&far).read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "was closed before the final completion")]
fn closing_too_early_is_caught() {
    let mut shard = Shard::new();
    let (near, far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.turn(false);
    drop(near);
    drop(far);
    shard.turn(true);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "has a second operation")]
fn a_second_receive_of_a_socket_is_caught() {
    let shard = Shard::new();
    let (near, _far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.driver.recv(near.as_fd(), RecvMode::Bulk, Token(2));
}
