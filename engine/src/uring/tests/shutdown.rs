//! Rule 3 of the driver, its end: cancel all, reap to zero, then free.

use super::*;
use std::io::{Read, Write};

/// One of everything, in every state an operation can be in.
fn load(shard: &mut Shard) -> Vec<Box<dyn std::any::Any>> {
    let driver = shard.driver.clone();
    let mut keep: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let [chatty, bulk, watch] = std::array::from_fn(|_| tcp_pair());
        let send = unix_pair();
        fill(&driver, &send.0);
        driver.accept(listener.as_fd(), Token(1));
        driver.recv(chatty.0.as_fd(), RecvMode::Chatty, Token(1));
        driver.recv(bulk.0.as_fd(), RecvMode::Bulk, Token(1));
        driver.send(send.0.as_fd(), vec![1; 1 << 20], 0..1 << 20, Token(1));
        driver.watch(watch.0.as_fd(), Token(1));
        driver.writable(send.0.as_fd(), Token(1));
        keep.push(Box::new((listener, chatty, bulk, send, watch)));
    }
    // Two that starve.
    for mode in [RecvMode::Chatty, RecvMode::Bulk] {
        for _ in 0..2 {
            let (near, mut far) = unix_pair();
            far.write_all(&[1; 16 * 1024]).unwrap();
            driver.recv(near.as_fd(), mode, Token(2));
            shard.turn(false);
            keep.push(Box::new((near, far)));
        }
    }
    keep
}

#[test]
fn shutdown_ends_everything_in_flight() {
    let mut shard = Shard::poor();
    let driver = shard.driver.clone();
    let keep = load(&mut shard);
    // And one that the kernel has not heard of.
    let (near, far) = tcp_pair();
    driver.recv(near.as_fd(), RecvMode::Chatty, Token(3));
    assert!(driver.in_flight() > 15);
    assert!(driver.counters().starved > 0);
    driver.shutdown();
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(driver.counters().stale, 0);
    // The kernel holds no socket any more: closing sends FIN at once.
    drop(near);
    assert_eq!(patient(&far).read(&mut [0; 1]).unwrap(), 0);
    driver.shutdown();
    drop(keep);
}

#[test]
fn waiting_futures_are_woken_by_shutdown() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (near, _far) = tcp_pair();
    let mut receive = Box::pin(driver.recv_some(near.as_fd()));
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    assert!(receive.as_mut().poll(&mut context).is_pending());
    shard.turn(false);
    driver.shutdown();
    assert!(flag.0.load(Ordering::Acquire));
    let Poll::Ready(Err(error)) = receive.as_mut().poll(&mut context) else { panic!() };
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn sleeping_futures_are_woken_by_shutdown() {
    let shard = Shard::new();
    let mut sleep = Box::pin(shard.driver.sleep_until(Instant::now() + Duration::from_secs(3_600)));
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    shard.driver.shutdown();
    // Neither sleeper nor driver holds the other's waker any more.
    assert!(flag.0.load(Ordering::Acquire));
    drop(waker);
    assert_eq!(Arc::strong_count(&flag), 1);
}

#[test]
fn what_is_asked_for_after_shutdown_is_cancelled_and_no_turn_hangs() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    driver.shutdown();
    let (near, _far) = tcp_pair();
    driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    driver.send(near.as_fd(), vec![1; 3], 0..3, Token(2));
    shard.turn(true);
    assert!(matches!(shard.next_received(Token(1)), (Received::Cancelled, false)));
    let (buffer, sent, result) = shard.next_sent(Token(2));
    assert_eq!((buffer, sent, result.is_err()), (vec![1; 3], 0, true));
    assert_eq!(shard.turn(true), 0);
}

#[test]
fn dropping_the_driver_shuts_it_down() {
    let mut shard = Shard::poor();
    let keep = load(&mut shard);
    let (near, far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(3));
    shard.turn(false);
    drop(shard);
    drop(near);
    assert_eq!(patient(&far).read(&mut [0; 1]).unwrap(), 0);
    drop(keep);
}

#[test]
fn leases_and_doorbells_outlive_the_driver() {
    let mut shard = Shard::new();
    let doorbell = shard.driver.doorbell();
    let (near, mut far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    far.write_all(b"kept").unwrap();
    let (Received::Data(lease), true) = shard.next_received(Token(1)) else { panic!() };
    drop(shard);
    assert_eq!(&*lease, b"kept");
    doorbell.ring();
}

#[test]
fn accepted_connections_that_nobody_takes_are_closed() {
    let mut shard = Shard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shard.driver.accept(listener.as_fd(), Token(1));
    shard.turn(false);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    shard.driver.shutdown();
    drop(listener);
    client.set_read_timeout(Some(Duration::from_secs(HANGS_SECONDS))).unwrap();
    // Accepted and closed, or reset with the listener: not left hanging.
    assert!(!matches!(client.read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock));
}

#[test]
fn a_thread_can_have_one_driver_after_another() {
    // More than the kernel registers for one thread at a time: each gives its registration back.
    for _ in 0..40 {
        let mut shard = Shard::new();
        assert!(shard.driver.inner.ring.registered);
        shard.driver.timer(Instant::now(), Token(1));
        assert_eq!(shard.turn(true), 1);
    }
}
