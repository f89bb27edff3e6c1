//! Everything at once, in an order that a seed decides: each operation ends exactly once, each stream stays whole.

use super::*;
use std::collections::VecDeque;
use std::io::{Read, Write};

const SOCKETS: usize = 12;
const STEPS: usize = 4_000;
/// Leases the test keeps at most, of 8 + 4 buffers.
const KEPT_MAX: usize = 9;

struct Random(u64);

/// One connection: the driver works on `near`, the test itself plays the peer.
struct Pair {
    near: UnixStream,
    far: UnixStream,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    /// Positions in the patterns of the two directions.
    written: usize,
    received: usize,
    sent: usize,
    read: usize,
}

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

impl Pair {
    fn new() -> Self {
        let (near, far) = unix_pair();
        socket2::SockRef::from(&near).set_send_buffer_size(4096).unwrap();
        Self { near, far, receiving: None, sending: None, written: 0, received: 0, sent: 0, read: 0 }
    }

    fn write(&mut self, seed: u64, bytes: usize) {
        let piece = pattern_bytes(seed, self.written..self.written + bytes);
        self.written += self.far.write(&piece).unwrap_or(0);
    }

    fn read(&mut self, seed: u64, bytes: usize) {
        let mut block = vec![0; bytes];
        let taken = self.far.read(&mut block).unwrap_or(0);
        assert!(block[..taken] == pattern_bytes(!seed, self.read..self.read + taken));
        self.read += taken;
    }

    fn act(&mut self, driver: &Driver, seed: u64, random: &mut Random) {
        match random.below(12) {
            0..=2 => self.write(seed, random.below(6_000) + 1),
            3..=4 => self.read(seed, random.below(20_000) + 1),
            5..=7 if self.receiving.is_none() => {
                let mode = if random.below(2) == 0 { RecvMode::Chatty } else { RecvMode::Bulk };
                self.receiving = Some(driver.recv(self.near.as_fd(), mode, Token(seed)));
            }
            8..=9 if self.sending.is_none() => {
                let bytes = pattern_bytes(!seed, self.sent..self.sent + random.below(30_000));
                let whole = 0..bytes.len();
                self.sending = Some(driver.send(self.near.as_fd(), bytes, whole, Token(seed)));
            }
            10 => self.receiving.iter().for_each(|op| driver.cancel(*op)),
            11 => self.sending.iter().for_each(|op| driver.cancel(*op)),
            _ => {}
        }
    }

    fn take(&mut self, seed: u64, completion: Completion) -> Option<Lease> {
        let (lease, more) = match completion {
            Completion::Received { result: Received::Data(lease), more, .. } => {
                assert!(*lease == pattern_bytes(seed, self.received..self.received + lease.len()));
                self.received += lease.len();
                (Some(lease), more)
            }
            Completion::Received { result: Received::Cancelled, more, .. } => (None, more),
            Completion::Sent { sent, buffer, result, .. } => {
                assert!(result.is_ok() == (sent == buffer.len()) || buffer.is_empty());
                self.sent += sent;
                assert!(self.sending.take().is_some(), "a send ended twice");
                return None;
            }
            other => panic!("{other:?}"),
        };
        assert!(self.receiving.is_some(), "a receive goes on after its end");
        if !more {
            self.receiving = None;
        }
        lease
    }

    fn drained(&self) -> bool {
        self.received == self.written && self.read == self.sent && self.sending.is_none()
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let chatty = GroupConfig { buffers: 8, size: 700 };
    let bulk = GroupConfig { buffers: 4, size: 5_000 };
    let mut shard = Shard::with(&DriverConfig { entries: 1 << random.below(6), chatty, bulk });
    let driver = shard.driver.clone();
    let mut pairs: Vec<_> = (0..SOCKETS).map(|_| Pair::new()).collect();
    let mut kept = VecDeque::new();
    for _ in 0..STEPS {
        let index = random.below(SOCKETS);
        pairs[index].act(&driver, index as u64, &mut random);
        if random.below(4) == 0 {
            shard.turn(false);
        }
        deliver(&mut shard, &mut pairs, &mut kept);
        while kept.len() > random.below(KEPT_MAX + 1) {
            kept.pop_front();
        }
    }
    // All that is under way comes to its end.
    kept.clear();
    while !pairs.iter().all(Pair::drained) {
        for (index, pair) in pairs.iter_mut().enumerate() {
            pair.read(index as u64, 100_000);
            if pair.receiving.is_none() && pair.received < pair.written {
                pair.receiving = Some(driver.recv(pair.near.as_fd(), RecvMode::Chatty, Token(index as u64)));
            }
        }
        shard.turn(false);
        deliver(&mut shard, &mut pairs, &mut kept);
        kept.clear();
    }
    let receiving = pairs.iter().filter(|pair| pair.receiving.is_some()).count();
    assert_eq!(driver.in_flight(), receiving);
    assert!(pairs.iter().all(|pair| pair.written > 0 && pair.sent > 0));
    assert_eq!(driver.counters().stale, 0);
    driver.shutdown();
    assert_eq!(driver.in_flight(), 0);
}

fn deliver(shard: &mut Shard, pairs: &mut [Pair], kept: &mut VecDeque<Lease>) {
    for completion in shard.told.drain(..) {
        let (Completion::Received { token, .. } | Completion::Sent { token, .. }) = &completion else {
            panic!("{completion:?}")
        };
        let seed = token.0;
        kept.extend(pairs[seed as usize].take(seed, completion));
    }
}

#[test]
fn whatever_the_order_streams_stay_whole_and_operations_end_once() {
    for seed in 0..60 {
        run(seed);
    }
}
