//! Rule 5 of the driver: no buffer left is nobody's error, and a flood delays nobody for long.

use super::*;
use std::collections::{HashSet, VecDeque};
use std::io::Write;

/// Turns within which a message on a quiet connection is told, however many floods there are.
const TURNS_MAX: usize = 6;

/// A quiet connection among floods, whose sockets are full at every turn; `held` leases are kept at any time.
fn quiet_among(floods: usize, held: usize) {
    let mut shard = Shard::poor();
    let driver = shard.driver.clone();
    let flooded: Vec<_> = (0..floods).map(|_| unix_pair()).collect();
    for (index, (near, _)) in flooded.iter().enumerate() {
        driver.recv(near.as_fd(), RecvMode::Chatty, Token(index as u64));
    }
    let (quiet, mut peer) = unix_pair();
    driver.recv(quiet.as_fd(), RecvMode::Chatty, Token(100));
    let mut flood_bytes = vec![0; floods];
    let mut kept = VecDeque::new();
    for message in 0..200_u8 {
        peer.write_all(&[message]).unwrap();
        let mut turns = 0;
        let mut heard = false;
        while !heard {
            for (_, far) in &flooded {
                fill(&driver, far);
            }
            shard.turn(true);
            turns += 1;
            assert!(turns <= TURNS_MAX, "message {message} is not told within {turns} turns");
            for completion in shard.told.drain(..) {
                let Completion::Received { token, result: Received::Data(lease), more: true } = completion
                else {
                    panic!("{completion:?}")
                };
                if token == Token(100) {
                    assert_eq!(*lease, [message]);
                    heard = true;
                } else {
                    flood_bytes[token.0 as usize] += lease.len();
                }
                kept.push_back(lease);
                if kept.len() > held {
                    kept.pop_front();
                }
            }
        }
    }
    // The floods went on as well, every one of them.
    assert!(flood_bytes.iter().all(|bytes| *bytes > 0), "{flood_bytes:?}");
    assert!(driver.counters().starved > 0);
}

#[test]
fn a_quiet_connection_is_heard_beside_one_flood() {
    quiet_among(1, 0);
}

#[test]
fn a_quiet_connection_is_heard_among_many_floods() {
    quiet_among(8, 0);
}

#[test]
fn a_quiet_connection_is_heard_although_leases_are_kept_for_a_while() {
    quiet_among(3, 3);
}

#[test]
fn who_waited_longest_is_fed_first() {
    let mut shard = Shard::poor();
    let pairs: Vec<_> = (0..6).map(|_| unix_pair()).collect();
    // The first takes all four buffers.
    (&pairs[0].1).write_all(&[0; 4 * 1024]).unwrap();
    shard.driver.recv(pairs[0].0.as_fd(), RecvMode::Chatty, Token(0));
    shard.turn_until(|told| told.len() == 4);
    for (index, (near, far)) in pairs.iter().enumerate().skip(1) {
        let mut far = far;
        far.write_all(&[index as u8]).unwrap();
        shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(index as u64));
        shard.turn(false);
    }
    assert_eq!(shard.driver.counters().starved, 5);
    let mut leases = std::mem::take(&mut shard.told);
    for index in 1..6 {
        // One buffer comes back, one receive is fed.
        leases.pop();
        let (Received::Data(lease), true) = shard.next_received(Token(index)) else { panic!() };
        assert_eq!(*lease, [index as u8]);
        assert!(shard.told.is_empty(), "{:?}", shard.told);
        leases.push(Completion::Received { token: Token(0), result: Received::Data(lease), more: true });
    }
}

#[test]
fn a_receive_that_starved_goes_back_to_multishot() {
    let mut shard = Shard::poor();
    let (near, mut far) = unix_pair();
    far.write_all(&[1; 6 * 1024]).unwrap();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    let mut bytes = 0;
    while bytes < 6 * 1024 {
        let (Received::Data(lease), true) = shard.next_received(Token(1)) else { panic!() };
        bytes += lease.len();
    }
    assert!(shard.driver.counters().starved > 0);
    shard.turn(false);
    let rearmed = shard.driver.counters().rearmed;
    for _ in 0..20 {
        far.write_all(b"one by one").unwrap();
        assert!(matches!(shard.next_received(Token(1)), (Received::Data(_), true)));
    }
    assert!(shard.driver.counters().rearmed <= rearmed + 1, "it is armed once and stays so");
}

#[test]
fn nothing_moves_while_every_buffer_is_leased_and_all_moves_afterwards() {
    for mode in [RecvMode::Chatty, RecvMode::Bulk] {
        let mut shard = Shard::poor();
        let pairs: Vec<_> = (0..10).map(|_| unix_pair()).collect();
        for (index, (near, far)) in pairs.iter().enumerate() {
            let mut far = far;
            far.write_all(&[index as u8; 100]).unwrap();
            shard.driver.recv(near.as_fd(), mode, Token(index as u64));
        }
        let buffers = if mode == RecvMode::Chatty { 4 } else { 2 };
        for _ in 0..5 {
            shard.turn(false);
        }
        assert_eq!(shard.told.len(), buffers, "{mode:?}");
        let mut seen = vec![0; 10];
        loop {
            for completion in shard.told.drain(..) {
                let Completion::Received { token, result: Received::Data(lease), .. } = completion else {
                    panic!("{completion:?}")
                };
                assert!(lease.iter().all(|byte| u64::from(*byte) == token.0));
                seen[token.0 as usize] += lease.len();
            }
            if seen.iter().sum::<usize>() == 1_000 {
                break;
            }
            shard.turn(true);
        }
        assert_eq!(seen, [100; 10], "{mode:?}");
    }
}

#[test]
fn few_bulk_streams_reuse_few_buffers() {
    let bulk = GroupConfig { buffers: 64, size: 4096 };
    let mut shard = Shard::with(&DriverConfig { bulk, ..DriverConfig::default() });
    let (near, mut far) = tcp_pair();
    let mut places = HashSet::new();
    for _ in 0..200 {
        far.write_all(&[1; 4096]).unwrap();
        shard.driver.recv(near.as_fd(), RecvMode::Bulk, Token(1));
        let (Received::Data(lease), false) = shard.next_received(Token(1)) else { panic!() };
        places.insert(lease.as_ptr());
    }
    assert!(places.len() <= 2, "{} buffers were walked through", places.len());
}
