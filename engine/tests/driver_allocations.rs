//! The driver's steady state allocates nothing: a counting allocator looks at every turn of a warm ping-pong in both
//! receive modes, with timers set and cancelled, cancels, and a group of buffers that runs out.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use engine::uring::{Completion, Driver, DriverConfig, GroupConfig, OpId, Received, RecvMode, Token};

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator; the counter needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(address, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PAIRS: usize = 12;

/// Both ends of a connection play ping-pong through the same driver.
struct End {
    socket: TcpStream,
    mode: RecvMode,
    op: OpId,
    buffer: Vec<u8>,
}

fn tcp_pair() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    [near, listener.accept().unwrap().0]
}

fn turn(driver: &Driver, ends: &mut [End], rounds: &mut u64) {
    let on = &mut |completion| match completion {
        Completion::Received { token, result: Received::Data(lease), more } => {
            let end = &mut ends[token.0 as usize];
            let mut buffer = std::mem::take(&mut end.buffer);
            buffer.clear();
            buffer.extend_from_slice(&lease);
            let whole = 0..buffer.len();
            driver.send(end.socket.as_fd(), buffer, whole, token);
            if !more {
                end.op = driver.recv(end.socket.as_fd(), end.mode, token);
            } else if rounds.is_multiple_of(7) {
                driver.cancel(end.op);
            }
            let timer = driver.timer(driver.now() + Duration::from_secs(60), token);
            driver.cancel_timer(timer);
            *rounds += 1;
        }
        Completion::Received { token, result: Received::Cancelled, .. } => {
            let end = &mut ends[token.0 as usize];
            end.op = driver.recv(end.socket.as_fd(), end.mode, token);
        }
        Completion::Sent { token, buffer, result: Ok(()), .. } => ends[token.0 as usize].buffer = buffer,
        other => panic!("{other:?}"),
    };
    driver.turn(true, on).unwrap();
}

#[test]
fn a_warm_driver_does_not_allocate() {
    // Fewer buffers than ends: receives starve now and then.
    let chatty = GroupConfig { buffers: 4, size: 256 };
    let bulk = GroupConfig { buffers: 4, size: 4096 };
    let driver = Driver::new(&DriverConfig { entries: 64, chatty, bulk }).unwrap();
    let sockets = (0..PAIRS).flat_map(|_| tcp_pair());
    let mut ends: Vec<_> = sockets
        .enumerate()
        .map(|(index, socket)| {
            let mode = if index % 4 < 2 { RecvMode::Chatty } else { RecvMode::Bulk };
            let op = driver.recv(socket.as_fd(), mode, Token(index as u64));
            End { socket, mode, op, buffer: Vec::with_capacity(256) }
        })
        .collect();
    for (index, end) in ends.iter_mut().enumerate().step_by(2) {
        let mut buffer = std::mem::take(&mut end.buffer);
        buffer.resize(64, 0);
        let whole = 0..buffer.len();
        driver.send(end.socket.as_fd(), buffer, whole, Token(index as u64));
    }
    let mut rounds = 0;
    while rounds < 5_000 {
        turn(&driver, &mut ends, &mut rounds);
    }
    let before = ALLOCATIONS.get();
    while rounds < 25_000 {
        turn(&driver, &mut ends, &mut rounds);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let counters = driver.counters();
    assert!(counters.starved > 0 && counters.cancels > 0 && counters.recvs_bulk > 0, "{counters:?}");
    driver.shutdown();
}
