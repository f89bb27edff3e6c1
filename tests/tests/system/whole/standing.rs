//! Readers that stand: they hold their own stream and nothing else.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, transfer};

use crate::needs;

const STANDING_PORT: u16 = 8081;
const MOVING_PORT: u16 = 8080;
const STANDING: usize = 8;
/// What the ninth stream moves each way meanwhile.
const MOVING_BYTES: u64 = 256 << 20;

/// What one standing stream may hold between its two applications: our stream window, the sockets' buffers at four
/// places (6 MiB is the kernel's most), and the proxies' own.
const STREAM_BYTES_MAX: u64 = 32 << 20;
/// How much a proxy may grow by: eight windows of 4 MiB, as much again for what holds them, and the ninth stream.
const GROWTH_KIB_MAX: u64 = 128 << 10;

/// An application that writes to a reader that stands, until it is stopped.
struct Writer {
    stream: Arc<TcpStream>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(stream: TcpStream, chunk_bytes: usize) -> Self {
        stream.set_write_timeout(None).unwrap();
        let (stream, written) = (Arc::new(stream), Arc::new(AtomicU64::new(0)));
        let (target, count) = (Arc::clone(&stream), Arc::clone(&written));
        let thread = thread::spawn(move || {
            let chunk = vec![b's'; chunk_bytes];
            // Until the shutdown below, or for good if nothing stops it: then the count tells.
            while let Ok(bytes) = (&*target).write(&chunk)
                && count.fetch_add(bytes as u64, Ordering::AcqRel) < 1 << 30
            {}
        });
        Self { stream, written, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn eight_standing_readers_leave_the_ninth_stream_alone_and_hold_little() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let standing = Server::start(&server.netns, STANDING_PORT, Service::Stand).unwrap();
    let _moving = Server::start(&server.netns, MOVING_PORT, Service::Exchange).unwrap();
    let alone = {
        let stream = connect(&client.netns, (server.ipv4, MOVING_PORT)).unwrap();
        transfer::exchange(&stream, MOVING_BYTES).unwrap()
    };
    let before = [0, 1].map(|node| mesh.process(node).resident_kib().unwrap());
    // The ninth is there first, so that its tunnel is theirs.
    let ninth = connect(&client.netns, (server.ipv4, MOVING_PORT)).unwrap();
    let writers: Vec<Writer> = (0..STANDING)
        .map(|number| {
            let stream = connect(&client.netns, (server.ipv4, STANDING_PORT)).unwrap();
            // One is fed in messages so small that what holds them weighs more than they do.
            Writer::start(stream, if number == 0 { 64 } else { 64 << 10 })
        })
        .collect();
    let beside = transfer::exchange(&ninth, MOVING_BYTES).unwrap();
    let after = [0, 1].map(|node| mesh.process(node).resident_peak_kib().unwrap());
    println!("ninth stream: alone {alone:.1?}, beside {STANDING} standing readers {beside:.1?}");
    assert_eq!(standing.open(), STANDING);
    for (number, writer) in writers.iter().enumerate() {
        let written = writer.written.load(Ordering::Acquire);
        assert!(written > 0 && written < STREAM_BYTES_MAX, "stream {number} took {written} bytes");
    }
    for (node, (before, after)) in before.iter().zip(after).enumerate() {
        let growth = after.saturating_sub(*before);
        println!("proxy {node}: {before} KiB before, {after} KiB at most");
        assert!(growth < GROWTH_KIB_MAX, "proxy {node} grew by {growth} KiB");
    }
}
