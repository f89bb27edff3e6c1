//! Each operation once, and the cost of a turn.

use super::*;
use std::io::{IoSlice, Read, Write};
use std::sync::atomic::AtomicUsize;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

#[test]
fn accepts_receives_sends_and_sees_the_end() {
    let mut shard = Shard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shard.driver.accept(listener.as_fd(), Token(1));
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, more) = shard.next_accepted(Token(1));
    assert!(more);
    let stream = TcpStream::from(accepted.unwrap());

    shard.driver.recv(stream.as_fd(), RecvMode::Chatty, Token(2));
    peer.write_all(b"hello").unwrap();
    let (received, more) = shard.next_received(Token(2));
    assert!(more);
    let Received::Data(lease) = received else { panic!("{received:?}") };
    assert_eq!(&*lease, b"hello");

    shard.driver.send(stream.as_fd(), b"--world".to_vec(), 2..7, Token(3));
    let (buffer, sent, result) = shard.next_sent(Token(3));
    assert_eq!((buffer.as_slice(), sent, result.is_ok()), (b"--world".as_slice(), 7, true));
    let mut world = [0; 5];
    peer.read_exact(&mut world).unwrap();
    assert_eq!(&world, b"world");

    drop(peer);
    assert!(matches!(shard.next_received(Token(2)), (Received::Eof, false)));
    assert_eq!(shard.driver.in_flight(), 1);
}

#[test]
fn accepted_sockets_are_non_blocking_and_close_on_exec() {
    let mut shard = Shard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shard.driver.accept(listener.as_fd(), Token(1));
    let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = shard.next_accepted(Token(1)).0.unwrap();
    assert!(socket2::SockRef::from(&stream).nonblocking().unwrap());
    let flags = nix::fcntl::fcntl(&stream, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

#[test]
fn a_bulk_receive_ends_with_its_data() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    far.write_all(&[7; 100_000]).unwrap();
    let mut received = 0;
    while received < 100_000 {
        shard.driver.recv(near.as_fd(), RecvMode::Bulk, Token(1));
        let (Received::Data(lease), false) = shard.next_received(Token(1)) else { panic!() };
        assert!(lease.iter().all(|byte| *byte == 7));
        received += lease.len();
    }
    assert_eq!((received, shard.driver.in_flight()), (100_000, 0));
    assert_eq!(shard.driver.counters().bytes_in_bulk, 100_000);
}

#[test]
fn a_lease_can_be_changed_and_shortened() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    far.write_all(b"abc").unwrap();
    shard.driver.recv(near.as_fd(), RecvMode::Bulk, Token(1));
    let (Received::Data(mut lease), false) = shard.next_received(Token(1)) else { panic!() };
    lease.make_ascii_uppercase();
    lease.advance(1);
    assert_eq!(&*lease, b"BC");
}

#[test]
fn an_empty_send_completes() {
    let mut shard = Shard::new();
    let (near, _far) = tcp_pair();
    shard.driver.send(near.as_fd(), vec![1, 2], 2..2, Token(1));
    let (buffer, sent, result) = shard.next_sent(Token(1));
    assert_eq!((buffer, sent, result.is_ok()), (vec![1, 2], 2, true));
}

#[test]
fn a_send_to_a_closed_peer_fails_without_a_signal() {
    static SIGNALS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only counts; sockets of the other tests do not raise it either.
    unsafe { sigaction(Signal::SIGPIPE, &action) }.unwrap();
    let mut shard = Shard::new();
    let (near, far) = unix_pair();
    drop(far);
    shard.driver.send(near.as_fd(), vec![1; 10], 0..10, Token(1));
    let (buffer, sent, result) = shard.next_sent(Token(1));
    assert_eq!((buffer.len(), sent), (10, 0));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let error = shard.driver.try_send(near.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(SIGNALS.load(Ordering::Relaxed), 0);
}

#[test]
fn try_send_takes_slices_and_says_when_the_socket_is_full() {
    let mut shard = Shard::new();
    let (near, mut far) = unix_pair();
    let taken = shard.driver.try_send(near.as_fd(), &[IoSlice::new(b"ab"), IoSlice::new(b"cd")]).unwrap();
    assert_eq!(taken, 4);
    let mut four = [0; 4];
    far.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"abcd");
    let block = [0; 65_536];
    let error = loop {
        if let Err(error) = shard.driver.try_send(near.as_fd(), &[IoSlice::new(&block)]) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

    shard.driver.writable(near.as_fd(), Token(1));
    shard.turn(false);
    assert!(shard.told.is_empty());
    while far.read(&mut [0; 65_536]).is_ok() {}
    assert_ne!(shard.next_polled(Token(1)).unwrap() & libc::POLLOUT as u32, 0);
    assert_eq!(shard.driver.counters().sends, 0);
}

#[test]
fn watch_sees_a_reset_while_nothing_is_received() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    shard.driver.watch(near.as_fd(), Token(1));
    far.write_all(b"data alone does not make it fire").unwrap();
    shard.turn(false);
    assert!(shard.told.is_empty());
    reset_on_close(&far);
    drop(far);
    let events = shard.next_polled(Token(1)).unwrap();
    assert_ne!(events & (libc::POLLERR | libc::POLLHUP) as u32, 0);
}

#[test]
fn watch_sees_a_reset_behind_an_end() {
    for armed_before_the_end in [true, false] {
        let mut shard = Shard::new();
        let (near, far) = tcp_pair();
        if armed_before_the_end {
            shard.driver.watch(near.as_fd(), Token(1));
            shard.turn(false);
        }
        far.shutdown(std::net::Shutdown::Write).unwrap();
        if !armed_before_the_end {
            shard.driver.watch(near.as_fd(), Token(1));
        }
        for _ in 0..10 {
            shard.turn(false);
        }
        assert!(shard.told.is_empty(), "an end alone does not make it fire");
        reset_on_close(&far);
        drop(far);
        let events = shard.next_polled(Token(1)).unwrap();
        assert_ne!(events & libc::POLLERR as u32, 0);
        assert_eq!(shard.driver.in_flight(), 0);
    }
}

#[test]
fn watch_fires_when_both_sides_have_ended() {
    let mut shard = Shard::new();
    let (near, far) = tcp_pair();
    shard.driver.watch(near.as_fd(), Token(1));
    far.shutdown(std::net::Shutdown::Write).unwrap();
    shard.turn(false);
    near.shutdown(std::net::Shutdown::Write).unwrap();
    let events = shard.next_polled(Token(1)).unwrap();
    assert_eq!(events & (libc::POLLERR | libc::POLLHUP) as u32, libc::POLLHUP as u32);
    assert_eq!(shard.driver.in_flight(), 0);
}

#[test]
fn a_failed_receive_says_why() {
    let mut shard = Shard::new();
    let (near, far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    reset_on_close(&far);
    drop(far);
    let (Received::Failed(error), false) = shard.next_received(Token(1)) else { panic!() };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_busy_ping_pong_costs_one_enter_per_turn() {
    const PAIRS: usize = 16;
    let shard = Shard::new();
    let pairs: Vec<_> = (0..PAIRS).map(|_| tcp_pair()).collect();
    for (index, (near, far)) in pairs.iter().enumerate() {
        shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(index as u64));
        shard.driver.recv(far.as_fd(), RecvMode::Chatty, Token((PAIRS + index) as u64));
        shard.driver.send(near.as_fd(), vec![0; 64], 0..64, Token(0));
    }
    let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let ends: Vec<_> = near.into_iter().chain(far).collect();
    let driver = shard.driver;
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let mut turn = |wait| {
        let answer = &mut |completion| match completion {
            Completion::Received { token, result: Received::Data(lease), more: true } => {
                let mut buffer = spare.pop().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(&lease);
                driver.send(ends[token.0 as usize].as_fd(), buffer, 0..lease.len(), token);
            }
            Completion::Sent { buffer, result: Ok(()), .. } => spare.push(buffer),
            other => panic!("{other:?}"),
        };
        driver.turn(wait, answer).unwrap()
    };
    for _ in 0..100 {
        turn(true);
    }
    let before = driver.counters();
    for _ in 0..1_000 {
        turn(true);
    }
    let after = driver.counters();
    assert_eq!(after.turns - before.turns, 1_000);
    assert_eq!(after.enters - before.enters, 1_000);
    assert_eq!(after.rearmed, before.rearmed);
    assert!(after.bytes_in_chatty - before.bytes_in_chatty >= 64 * 1_000);
}

#[test]
fn a_turn_that_does_not_wait_still_brings_completions() {
    let mut shard = Shard::new();
    let (near, mut far) = tcp_pair();
    shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.turn(false);
    far.write_all(b"x").unwrap();
    patient(&near).peek(&mut [0]).unwrap();
    assert_eq!(shard.turn(false), 1);
}

#[test]
#[should_panic(expected = "from within itself")]
fn turns_do_not_nest() {
    let mut shard = Shard::new();
    shard.driver.timer(Instant::now(), Token(1));
    let driver = shard.driver.clone();
    shard.told.clear();
    let _ = driver.clone().turn(true, &mut |_| {
        let _ = driver.turn(false, &mut drop);
    });
}

#[test]
fn impossible_sizes_are_refused() {
    let good = DriverConfig::default();
    let group = |buffers, size| GroupConfig { buffers, size };
    for config in [
        DriverConfig { entries: 0, ..good },
        DriverConfig { entries: 40_000, ..good },
        DriverConfig { chatty: group(100, 1024), ..good },
        DriverConfig { chatty: group(0, 1024), ..good },
        DriverConfig { bulk: group(4, 0), ..good },
        DriverConfig { bulk: group(4, u32::MAX), ..good },
    ] {
        assert!(matches!(Driver::new(&config), Err(DriverError::Config(_))), "{config:?}");
    }
}
