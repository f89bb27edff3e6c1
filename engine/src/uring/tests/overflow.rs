//! Queues of the ring that are too small for what is asked of them.

use super::*;
use std::io::Write;

const OPERATIONS: usize = 10_000;

fn small(entries: u32) -> Shard {
    Shard::with(&DriverConfig { entries, ..DriverConfig::default() })
}

/// Each token from zero exactly once.
fn assert_each_once(told: &[Completion], count: usize) {
    let mut seen = vec![false; count];
    for completion in told {
        let Completion::Polled { token, result: Ok(_) } = completion else { panic!("{completion:?}") };
        assert!(!std::mem::replace(&mut seen[token.0 as usize], true), "{token:?} twice");
    }
    assert_eq!(told.len(), count);
}

#[test]
fn ten_thousand_operations_in_one_turn_all_complete() {
    for entries in [1, 512] {
        let mut shard = small(entries);
        let (near, _far) = tcp_pair();
        for index in 0..OPERATIONS {
            shard.driver.writable(near.as_fd(), Token(index as u64));
        }
        assert_eq!(shard.driver.in_flight(), OPERATIONS);
        shard.turn_until(|told| told.len() == OPERATIONS);
        assert_each_once(&shard.told, OPERATIONS);
        assert_eq!(shard.driver.in_flight(), 0);
        let counters = shard.driver.counters();
        // All complete at once, the completion queue holds eight for each entry.
        assert!(counters.overflows > 0, "{counters:?}");
        assert_eq!(counters.sqes, OPERATIONS as u64 + 1);
    }
}

#[test]
fn ten_thousand_waiting_operations_are_cancelled_in_one_turn() {
    let mut shard = small(64);
    let (near, _far) = tcp_pair();
    let ops: Vec<_> =
        (0..OPERATIONS).map(|index| shard.driver.watch(near.as_fd(), Token(index as u64))).collect();
    shard.turn(false);
    assert!(shard.told.is_empty());
    ops.into_iter().for_each(|op| shard.driver.cancel(op));
    shard.turn_until(|told| told.len() == OPERATIONS);
    assert_eq!(shard.driver.in_flight(), 0);
}

#[test]
fn receives_survive_a_completion_queue_that_overflows() {
    const STREAMS: usize = 64;
    const BYTES: usize = 40_000;
    let chatty = GroupConfig { buffers: 256, size: 512 };
    let mut shard = Shard::with(&DriverConfig { entries: 1, chatty, ..DriverConfig::default() });
    let pairs: Vec<_> = (0..STREAMS).map(|_| unix_pair()).collect();
    for (index, (near, _)) in pairs.iter().enumerate() {
        shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(index as u64));
    }
    shard.turn(false);
    let mut received = [0; STREAMS];
    let mut written = [0; STREAMS];
    while received.iter().any(|bytes| *bytes < BYTES) {
        // All streams have data before the kernel is let in: far more completions than the queue has room for.
        for (index, (_, far)) in pairs.iter().enumerate() {
            let mut far = far;
            let end = BYTES.min(written[index] + 3_000);
            let bytes = pattern_bytes(index as u64, written[index]..end);
            // As much as the socket takes.
            written[index] += far.write(&bytes).unwrap_or(0);
        }
        shard.turn(true);
        for completion in shard.told.drain(..) {
            let Completion::Received { token, result: Received::Data(lease), more: true } = completion else {
                panic!("{completion:?}")
            };
            let place = &mut received[token.0 as usize];
            assert!(
                *lease == pattern_bytes(token.0, *place..*place + lease.len()),
                "{token:?} after {place}"
            );
            *place += lease.len();
        }
    }
    assert!(shard.driver.counters().overflows > 0);
}

#[test]
fn accepts_survive_a_completion_queue_that_overflows() {
    let mut shard = small(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shard.driver.accept(listener.as_fd(), Token(1));
    shard.turn(false);
    let address = listener.local_addr().unwrap();
    let _clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    shard.turn_until(|told| told.len() == 100);
    assert!(
        shard.told.iter().all(|told| matches!(told, Completion::Accepted { result: Ok(_), more: true, .. })),
        "{:?}",
        shard.told
    );
    assert!(shard.driver.counters().overflows > 0);
}

#[test]
fn what_the_kernel_refuses_for_a_while_is_submitted_later() {
    for errno in [libc::EAGAIN, libc::EBUSY, libc::ENOMEM] {
        // Refused in the enter of the turn, with what is staged, and while staging more than the queue holds.
        for operations in [1, 20] {
            let mut shard = small(8);
            let (near, _far) = tcp_pair();
            for index in 0..operations {
                shard.driver.writable(near.as_fd(), Token(index as u64));
            }
            shard.driver.inner.ring.refusals.borrow_mut().extend([errno; 6]);
            shard.turn_until(|told| told.len() == operations);
            assert_each_once(&shard.told, operations);
            assert!(shard.driver.counters().refused > 0);
        }
    }
}

#[test]
fn a_refused_turn_gives_the_shard_the_word_instead_of_waiting() {
    let mut shard = small(8);
    let (near, _far) = tcp_pair();
    shard.driver.watch(near.as_fd(), Token(1));
    shard.driver.inner.ring.refusals.borrow_mut().push_back(libc::EAGAIN);
    // Nothing to tell: it would wait without end for an operation the kernel does not have.
    assert_eq!(shard.turn(true), 0);
    assert_eq!(shard.driver.counters().refused, 1);
}

#[test]
fn an_error_that_does_not_pass_says_that_the_ring_is_lost() {
    for (errno, cause) in [(libc::EBADR, "lost some"), (libc::EFAULT, "cannot be used any more")] {
        let shard = small(8);
        shard.driver.inner.ring.refusals.borrow_mut().push_back(errno);
        let error = shard.driver.turn(true, &mut drop).unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
    }
}
