//! The driver on the real kernel: socket pairs and TCP over loopback.
#![allow(clippy::unwrap_used)]

mod basic;
mod cancel;
mod chaos;
mod futures;
mod load;
mod overflow;
mod shutdown;
mod starve;
mod wake;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use socket2::{Domain, Type};

use super::*;

/// A test that takes longer hangs: it fails instead.
const HANGS_SECONDS: u64 = 60;
const GUARD: Token = Token(u64::MAX);

/// A driver with everything it told.
struct Shard {
    driver: Driver,
    told: Vec<Completion>,
}

/// Wakes by setting a flag.
struct Flag(AtomicBool);

// === impl Shard ===

impl Shard {
    fn new() -> Self {
        Self::with(&DriverConfig::default())
    }

    fn with(config: &DriverConfig) -> Self {
        let driver = Driver::new(config).unwrap();
        driver.timer(Instant::now() + Duration::from_secs(HANGS_SECONDS), GUARD);
        Self { driver, told: Vec::new() }
    }

    /// With few buffers: four small ones of 1 KiB, two large ones of 4 KiB.
    fn poor() -> Self {
        let chatty = GroupConfig { buffers: 4, size: 1024 };
        let bulk = GroupConfig { buffers: 2, size: 4096 };
        Self::with(&DriverConfig { entries: 8, chatty, bulk })
    }

    fn turn(&mut self, wait: bool) -> usize {
        let told = &mut self.told;
        self.driver.turn(wait, &mut |completion| keep(told, completion)).unwrap()
    }

    /// Turns until `enough` holds of all that was told.
    fn turn_until(&mut self, mut enough: impl FnMut(&[Completion]) -> bool) {
        while !enough(&self.told) {
            self.turn(true);
        }
    }

    /// Turns until there is a completion that `wanted` picks, and takes it.
    fn next<T>(
        &mut self,
        mut wanted: impl FnMut(&Completion) -> bool,
        take: impl FnOnce(Completion) -> T,
    ) -> T {
        self.turn_until(|told| told.iter().any(&mut wanted));
        let at = self.told.iter().position(wanted).unwrap();
        take(self.told.remove(at))
    }

    fn next_received(&mut self, of: Token) -> (Received, bool) {
        self.next(
            |completion| matches!(completion, Completion::Received { token, .. } if *token == of),
            |completion| match completion {
                Completion::Received { result, more, .. } => (result, more),
                other => panic!("{other:?}"),
            },
        )
    }

    fn next_sent(&mut self, of: Token) -> (Vec<u8>, usize, io::Result<()>) {
        self.next(
            |completion| matches!(completion, Completion::Sent { token, .. } if *token == of),
            |completion| match completion {
                Completion::Sent { buffer, sent, result, .. } => (buffer, sent, result),
                other => panic!("{other:?}"),
            },
        )
    }

    fn next_polled(&mut self, of: Token) -> io::Result<u32> {
        self.next(
            |completion| matches!(completion, Completion::Polled { token, .. } if *token == of),
            |completion| match completion {
                Completion::Polled { result, .. } => result,
                other => panic!("{other:?}"),
            },
        )
    }

    fn next_accepted(&mut self, of: Token) -> (io::Result<OwnedFd>, bool) {
        self.next(
            |completion| matches!(completion, Completion::Accepted { token, .. } if *token == of),
            |completion| match completion {
                Completion::Accepted { result, more, .. } => (result, more),
                other => panic!("{other:?}"),
            },
        )
    }

    /// Drives a future, and the ring meanwhile, to the future's end.
    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        loop {
            while flag.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return output;
                }
            }
            self.turn(true);
        }
    }
}

fn keep(told: &mut Vec<Completion>, completion: Completion) {
    if let Completion::Timer { token: GUARD } = completion {
        panic!("nothing happens any more; told so far: {told:?}");
    }
    told.push(completion);
}

// === impl Flag ===

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Both ends of a TCP connection over loopback, non-blocking.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    (near, far)
}

/// The stream, whose reads wait from now on, though not for ever: what was sent over loopback is there at once as a rule, and
/// late on a machine whose softirqs have a thread of their own.
fn patient(stream: &TcpStream) -> &TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(HANGS_SECONDS))).unwrap();
    stream
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Closing sends RST instead of FIN.
fn reset_on_close(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Bytes that show loss and disorder: what the stream `seed` carries at the positions `range`.
fn pattern_bytes(seed: u64, range: std::ops::Range<usize>) -> Vec<u8> {
    // A prime, so that no buffer size divides it.
    const ROUND: usize = 65_521;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let mixed = |at: usize| ((at as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32) as u8;
    let round = BYTES.get_or_init(|| (0..ROUND).map(mixed).collect());
    let mut bytes = Vec::with_capacity(range.len());
    let mut at = (range.start + seed as u16 as usize * 577) % ROUND;
    while bytes.len() < range.len() {
        let end = ROUND.min(at + range.len() - bytes.len());
        bytes.extend_from_slice(&round[at..end]);
        at = end % ROUND;
    }
    bytes
}

/// Sends until the socket takes no more. Returns how many bytes it took. A local socket stays full then; a TCP socket may
/// take more when its peer's window has grown.
fn fill(driver: &Driver, stream: &impl AsFd) -> usize {
    let block = [0; 65_536];
    let mut taken = 0;
    while let Ok(bytes) = driver.try_send(stream.as_fd(), &[io::IoSlice::new(&block)]) {
        taken += bytes;
    }
    taken
}

/// A listener whose queue is full: a further connect hangs.
fn full_listener() -> (socket2::Socket, Vec<socket2::Socket>) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let client = tcp_socket();
            let _ = client.connect(&address);
            client
        })
        .collect();
    (listener, waiting)
}

fn tcp_socket() -> socket2::Socket {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}
