//! Many bytes and many connections: nothing lost, nothing doubled, nothing out of order.

use super::*;
use std::io::{Read, Write};
use std::thread;

#[test]
fn eight_mebibytes_through_a_narrow_socket_arrive_whole() {
    const BYTES: usize = 8 << 20;
    const STREAMS: usize = 4;
    let mut shard = Shard::new();
    let mut readers = Vec::new();
    let mut sockets = Vec::new();
    for stream in 0..STREAMS as u64 {
        let (near, mut far) = tcp_pair();
        socket2::SockRef::from(&near).set_send_buffer_size(16 * 1024).unwrap();
        socket2::SockRef::from(&far).set_recv_buffer_size(16 * 1024).unwrap();
        far.set_nonblocking(false).unwrap();
        shard.driver.send(near.as_fd(), pattern_bytes(stream, 0..BYTES), 1..BYTES, Token(stream));
        sockets.push(near);
        readers.push(thread::spawn(move || {
            let mut arrived = vec![0; BYTES - 1];
            far.read_exact(&mut arrived).unwrap();
            assert!(arrived == pattern_bytes(stream, 1..BYTES), "stream {stream}");
        }));
    }
    for stream in 0..STREAMS as u64 {
        let (buffer, sent, result) = shard.next_sent(Token(stream));
        result.unwrap();
        assert_eq!((buffer.len(), sent), (BYTES, BYTES));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let counters = shard.driver.counters();
    assert_eq!((counters.bytes_out, counters.sends), ((STREAMS * (BYTES - 1)) as u64, STREAMS as u64));
    // In pieces of one MiB here, each of which the kernel sends whole.
    assert_eq!(counters.sends_short, STREAMS as u64 * 7);
}

/// One stream of the mode change test.
struct Stream {
    socket: TcpStream,
    op: OpId,
    mode: RecvMode,
    received: usize,
    /// Where the mode is to change next.
    change_at: usize,
}

#[test]
fn changing_the_mode_under_load_loses_and_reorders_nothing() {
    const STREAMS: usize = 96;
    const BYTES: usize = 300_000;
    let chatty = GroupConfig { buffers: 32, size: 2048 };
    let bulk = GroupConfig { buffers: 8, size: 32 * 1024 };
    let shard = Shard::with(&DriverConfig { entries: 32, chatty, bulk });
    let driver = &shard.driver;
    let mut writers = Vec::new();
    let mut streams: Vec<_> = (0..STREAMS)
        .map(|index| {
            let (socket, mut far) = tcp_pair();
            far.set_nonblocking(false).unwrap();
            writers.push(move || {
                // Pieces of every size.
                let mut position = 0;
                while position < BYTES {
                    let piece = (position * 7 + index * 131) % 9_000 + 1;
                    let end = BYTES.min(position + piece);
                    far.write_all(&pattern_bytes(index as u64, position..end)).unwrap();
                    position = end;
                }
            });
            let op = driver.recv(socket.as_fd(), RecvMode::Chatty, Token(index as u64));
            Stream { socket, op, mode: RecvMode::Chatty, received: 0, change_at: 5_000 + index * 97 }
        })
        .collect();
    let mut writers = writers.into_iter();
    let mut threads = Vec::new();
    for _ in 0..4 {
        let share: Vec<_> = writers.by_ref().take(STREAMS / 4).collect();
        // Each stream of a share in its own thread: they must not wait for one another.
        threads.extend(share.into_iter().map(thread::spawn));
    }
    let mut open = STREAMS;
    let mut changes = 0;
    while open > 0 {
        let on = &mut |completion| {
            let Completion::Received { token, result, more } = completion else { panic!("{completion:?}") };
            let stream = &mut streams[token.0 as usize];
            match result {
                Received::Data(lease) => stream.take(token.0, &lease),
                Received::Eof => {
                    assert_eq!((stream.received, more), (BYTES, false));
                    open -= 1;
                    return;
                }
                Received::Cancelled => {}
                Received::Failed(error) => panic!("{error}"),
            }
            let change = stream.received >= stream.change_at;
            if more {
                if change {
                    driver.cancel(stream.op);
                }
                return;
            }
            if change {
                stream.change_at += 20_000 + token.0 as usize * 31;
                stream.mode = if stream.mode == RecvMode::Chatty { RecvMode::Bulk } else { RecvMode::Chatty };
                changes += 1;
            }
            stream.op = driver.recv(stream.socket.as_fd(), stream.mode, token);
        };
        driver.turn(true, on).unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(changes >= STREAMS * 5, "only {changes} changes");
    assert_eq!((driver.in_flight(), driver.counters().stale), (0, 0));
}

impl Stream {
    fn take(&mut self, seed: u64, bytes: &[u8]) {
        let expected = pattern_bytes(seed, self.received..self.received + bytes.len());
        assert!(bytes == expected, "stream {seed} differs after {} bytes", self.received);
        self.received += bytes.len();
    }
}

#[test]
fn every_connection_of_a_storm_is_accepted_once() {
    const THREADS: usize = 8;
    const EACH: usize = 150;
    let mut shard = Shard::with(&DriverConfig { entries: 8, ..DriverConfig::default() });
    let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(1024).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    shard.driver.accept(listener.as_fd(), Token(1));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            thread::spawn(move || (0..EACH).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>())
        })
        .collect();
    shard.turn_until(|told| told.len() == THREADS * EACH);
    let clients = threads.into_iter().flat_map(|thread| thread.join().unwrap());
    let mut expected: Vec<_> = clients.map(|client| (client.local_addr().unwrap(), client)).collect();
    expected.sort_by_key(|(address, _)| *address);
    let mut accepted: Vec<_> = shard
        .told
        .drain(..)
        .map(|completion| {
            let Completion::Accepted { result: Ok(fd), more: true, .. } = completion else {
                panic!("{completion:?}")
            };
            TcpStream::from(fd).peer_addr().unwrap()
        })
        .collect();
    accepted.sort();
    assert!(accepted.iter().eq(expected.iter().map(|(address, _)| address)));
    assert_eq!(shard.driver.in_flight(), 1);
}
