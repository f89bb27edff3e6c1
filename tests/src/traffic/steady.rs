//! New connections at a steady rate, each with one exchange, and every one that failed written down.

use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::connect_here;
use crate::netns::Netns;

/// Callers at a time: each waits for its answer before it calls again.
const CALLERS: u32 = 16;
/// What is sent and comes back.
const MESSAGE: [u8; 8] = *b"steadily";

/// Connections that go on being made until it is told to end. The server has to be an echo.
#[derive(Debug)]
pub struct Steady {
    ended: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    callers: Vec<JoinHandle<Vec<String>>>,
    begun: Instant,
}

/// How many there were, and in what time: a machine with other things to do does not keep the rate.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub connections: u64,
    pub time: Duration,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = self.connections as f64 / self.time.as_secs_f64();
        write!(f, "{} connections, {per_second:.0} a second", self.connections)
    }
}

impl Steady {
    /// Makes `rate` connections a second from inside `netns`.
    pub fn start(netns: &Netns, address: impl Into<SocketAddr>, rate: u32) -> Self {
        let address = address.into();
        let (ended, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let every = Duration::from_secs(1) * CALLERS / rate;
        let begun = Instant::now();
        let caller = |number: u32| {
            let (ended, made) = (Arc::clone(&ended), Arc::clone(&made));
            // Not all at the same moment.
            let first = begun + every * number / CALLERS;
            netns.spawn(move || call_repeatedly(address, first, every, &ended, &made))
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { ended, made, callers, begun }
    }

    /// Connections so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Ends it, and fails if a connection did.
    pub fn finish(self) -> Result<Made> {
        self.ended.store(true, Ordering::Release);
        let mut failures = Vec::new();
        for caller in self.callers {
            failures.extend(caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        let (connections, time) = (self.made.load(Ordering::Relaxed), self.begun.elapsed());
        let first: Vec<_> = failures.iter().take(5).collect();
        ensure!(
            failures.is_empty(),
            "{} of {connections} connections failed, as in {first:#?}",
            failures.len()
        );
        Ok(Made { connections, time })
    }
}

fn call_repeatedly(
    address: SocketAddr,
    mut next: Instant,
    every: Duration,
    ended: &AtomicBool,
    made: &AtomicU64,
) -> Vec<String> {
    let mut failures = Vec::new();
    let begun = Instant::now();
    while !ended.load(Ordering::Acquire) {
        // A caller that is late makes up for it: the rate is that of the whole.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += every;
        let called = Instant::now();
        if let Err(error) = call(address) {
            failures.push(format!("{:?} after {:?}: {error}", called - begun, called.elapsed()));
        }
        made.fetch_add(1, Ordering::Relaxed);
    }
    failures
}

fn call(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect_here(address)?;
    stream.write_all(&MESSAGE)?;
    let mut answer = [0; MESSAGE.len()];
    stream.read_exact(&mut answer)?;
    if answer != MESSAGE {
        return Err(std::io::Error::other("another answer than what was sent"));
    }
    Ok(())
}
