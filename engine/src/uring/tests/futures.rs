//! Set-up of connections: what futures bring, and what is left when they are dropped.

use super::*;
use std::io::{Read, Write};
use std::pin::Pin;

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Polls a future once, as a task that is dropped afterwards.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn connects_sends_and_receives() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = tcp_socket();
    let address = listener.local_addr().unwrap();
    shard.block_on(driver.connect(socket.as_fd(), address, far_off())).unwrap();
    let (mut peer, _) = listener.accept().unwrap();

    let buffer = shard.block_on(driver.send_all(socket.as_fd(), b"hello".to_vec())).unwrap();
    assert_eq!(buffer, b"hello");
    let mut hello = [0; 5];
    peer.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");

    peer.write_all(b"world").unwrap();
    let lease = shard.block_on(driver.recv_some(socket.as_fd())).unwrap().unwrap();
    assert_eq!(&*lease, b"world");
    drop(peer);
    assert!(shard.block_on(driver.recv_some(socket.as_fd())).unwrap().is_none());
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn connects_over_ipv6() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    // Not every machine has IPv6.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let socket = socket2::Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    shard.block_on(driver.connect(socket.as_fd(), listener.local_addr().unwrap(), far_off())).unwrap();
}

#[test]
fn a_refused_connect_says_so() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    // Taken, so that nobody else gets it and listens.
    let taken = tcp_socket();
    taken.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let socket = tcp_socket();
    let error = shard.block_on(driver.connect(socket.as_fd(), address, far_off())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_connect_that_hangs_ends_at_its_deadline() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (listener, _waiting) = full_listener();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let socket = tcp_socket();
    let deadline = soon();
    let error = shard.block_on(driver.connect(socket.as_fd(), address, deadline)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(Instant::now() >= deadline);
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn a_failed_receive_and_send_say_why() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (near, far) = tcp_pair();
    reset_on_close(&far);
    drop(far);
    let error = shard.block_on(driver.recv_some(near.as_fd())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = shard.block_on(driver.send_all(near.as_fd(), vec![1])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_waiting_receive_holds_no_buffer() {
    let mut shard = Shard::poor();
    let driver = shard.driver.clone();
    let pairs: Vec<_> = (0..20).map(|_| tcp_pair()).collect();
    let mut waiting: Vec<_> =
        pairs.iter().map(|(near, _)| Box::pin(driver.recv_some(near.as_fd()))).collect();
    let mut context = Context::from_waker(Waker::noop());
    for future in &mut waiting {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    shard.turn(false);
    assert_eq!(driver.counters().starved, 0);
    // Twenty wait, four buffers: the twentieth is served at once.
    (&pairs[19].1).write_all(b"x").unwrap();
    let lease = shard.block_on(waiting.pop().unwrap()).unwrap().unwrap();
    assert_eq!(&*lease, b"x");
}

#[test]
fn a_dropped_future_ends_its_operation() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (listener, _waiting) = full_listener();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    for turns_before in [0, 1] {
        let connecting = tcp_socket();
        let (receiving, _quiet) = tcp_pair();
        let (sending, _silent) = unix_pair();
        fill(&driver, &sending);
        let mut context = Context::from_waker(Waker::noop());
        let mut connect = Box::pin(driver.connect(connecting.as_fd(), address, far_off()));
        let mut receive = Box::pin(driver.recv_some(receiving.as_fd()));
        let mut send = Box::pin(driver.send_all(sending.as_fd(), vec![7; 1 << 20]));
        assert!(connect.as_mut().poll(&mut context).is_pending());
        assert!(receive.as_mut().poll(&mut context).is_pending());
        assert!(send.as_mut().poll(&mut context).is_pending());
        for _ in 0..turns_before {
            shard.turn(false);
        }
        assert_eq!(driver.in_flight(), 3);
        drop((connect, receive, send));
        while driver.in_flight() > 0 {
            shard.turn(false);
        }
    }
    assert!(shard.told.is_empty());
    assert_eq!(driver.counters().stale, 0);
}

#[test]
fn a_finished_future_can_be_dropped_unread() {
    let mut shard = Shard::poor();
    let driver = shard.driver.clone();
    let (near, mut far) = tcp_pair();
    // More often than there are buffers: each of them came back.
    for _ in 0..10 {
        let mut receive = Box::pin(driver.recv_some(near.as_fd()));
        assert!(receive.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        far.write_all(b"unread").unwrap();
        shard.turn(true);
        drop(receive);
        assert_eq!(driver.in_flight(), 0);
    }
    assert_eq!(driver.counters().starved, 0);
}

#[test]
fn a_dropped_future_does_not_touch_the_socket_that_got_its_number() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (first, _peer) = tcp_pair();
    let (second, mut writer) = tcp_pair();
    // Asked for, dropped and closed before the kernel heard of it.
    assert!(poll_once(driver.recv_some(first.as_fd())).is_pending());
    assert!(poll_once(driver.send_all(first.as_fd(), b"stray".to_vec())).is_pending());
    // Closes the number and gives it to the other socket, in one step: other tests open fds as well.
    let mut number = OwnedFd::from(first);
    nix::unistd::dup2(&second, &mut number).unwrap();
    let second = TcpStream::from(number);
    writer.write_all(b"mine").unwrap();
    while driver.in_flight() > 0 {
        shard.turn(false);
    }
    let mut mine = [0; 4];
    patient(&second).read_exact(&mut mine).unwrap();
    assert_eq!(&mine, b"mine");
    assert_eq!(writer.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn dropping_a_connected_future_late_is_harmless() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = tcp_socket();
    let mut connect = Box::pin(driver.connect(socket.as_fd(), listener.local_addr().unwrap(), far_off()));
    assert!(connect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    shard.turn(true);
    drop(connect);
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn sleeps_until_its_instant_and_not_for_less() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let at = soon();
    shard.block_on(driver.sleep_until(at));
    assert!(Instant::now() >= at && driver.now() >= at);
    // What is over needs no turn.
    assert!(poll_once(driver.sleep_until(at)).is_ready());
}

#[test]
fn a_dropped_sleep_wakes_nobody() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    assert!(poll_once(driver.sleep_until(soon())).is_pending());
    let at = Instant::now() + Duration::from_millis(40);
    driver.timer(at, Token(1));
    shard.turn(true);
    assert!(matches!(shard.told.as_slice(), [Completion::Timer { token: Token(1) }]));
    assert_eq!(driver.counters().timers, 1);
}

/// Polls with one waker and then with another; whether each has been woken after a turn that has waited.
fn woken<F: Future>(shard: &mut Shard, future: F) -> [bool; 2] {
    let mut future = pin!(future);
    let flags = [(); 2].map(|()| Arc::new(Flag(AtomicBool::new(false))));
    for flag in &flags {
        let waker = Waker::from(Arc::clone(flag));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    shard.turn(true);
    flags.map(|flag| flag.0.load(Ordering::Acquire))
}

#[test]
fn the_latest_waker_is_the_one_woken() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    assert_eq!(woken(&mut shard, driver.recv_some(near.as_fd())), [false, true]);
    assert_eq!(woken(&mut shard, driver.sleep_until(soon())), [false, true]);
}

/// A task whose last waker the driver keeps: dropping that waker drops a future of the driver's.
struct Task {
    _future: Box<dyn std::any::Any>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

// SAFETY: waker and task stay on this thread; `Waker` demands Send and Sync of what it could carry elsewhere.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

/// A waker that owns a future which has an operation under way.
fn owning_waker(driver: &Driver) -> Waker {
    let (driver, (near, far)) = (driver.clone(), tcp_pair());
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        drop(driver.recv_some(near.as_fd()).await);
        drop(far);
    });
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    Waker::from(Arc::new(Task { _future: Box::new(future) }))
}

#[test]
fn a_waker_that_drops_its_task_may_come_back_to_the_driver() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let (near, _far) = tcp_pair();
    let mut receive = Box::pin(driver.recv_some(near.as_fd()));
    let mut sleep = Box::pin(driver.sleep_until(far_off()));
    // Each poll drops the waker of the one before, its task, and cancels that task's operation: within the poll.
    for _ in 0..2 {
        let waker = owning_waker(&driver);
        assert!(receive.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let waker = owning_waker(&driver);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(driver.in_flight(), 5);
    // And within these drops.
    drop(receive);
    drop(sleep);
    while driver.in_flight() > 0 {
        shard.turn(false);
    }
}

#[test]
fn many_tasks_of_an_executor_share_the_driver() {
    const TASKS: usize = 50;
    let mut shard = Shard::poor();
    let driver = shard.driver.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.accept(listener.as_fd(), Token(1));
    let executor = async_executor::LocalExecutor::new();
    let done = std::rc::Rc::new(std::cell::Cell::new(0));
    for task in 0..TASKS {
        let (driver, done) = (driver.clone(), std::rc::Rc::clone(&done));
        let client = async move {
            let socket = tcp_socket();
            driver.connect(socket.as_fd(), address, far_off()).await.unwrap();
            let question = pattern_bytes(task as u64, 0..3_000);
            let question = driver.send_all(socket.as_fd(), question).await.unwrap();
            driver.sleep_until(driver.now() + Duration::from_millis(task as u64 % 7)).await;
            let mut answer = Vec::new();
            while answer.len() < question.len() {
                answer.extend_from_slice(&driver.recv_some(socket.as_fd()).await.unwrap().unwrap());
            }
            assert!(answer == question);
            done.set(done.get() + 1);
        };
        executor.spawn(client).detach();
    }
    while done.get() < TASKS {
        while executor.try_tick() {}
        shard.turn(done.get() < TASKS);
        for completion in shard.told.drain(..) {
            let Completion::Accepted { result: Ok(fd), .. } = completion else { panic!("{completion:?}") };
            let driver = driver.clone();
            let echo = async move {
                while let Some(lease) = driver.recv_some(fd.as_fd()).await.unwrap() {
                    driver.send_all(fd.as_fd(), lease.to_vec()).await.unwrap();
                }
            };
            executor.spawn(echo).detach();
        }
    }
    driver.shutdown();
}
