//! The client of the ping-pong: one thread for all connections, so that what is measured is not its own scheduling.
//!
//! In the closed loop the next message goes when the last one is back: as many a second as the path allows. The paced one
//! sends at moments that were fixed before, and counts from them: a path that stands still is not spared the messages
//! that would have been sent meanwhile.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::connections::Connections;
use super::meter::Meter;

/// Handled in one turn.
const EVENTS_MAX: usize = 64;

/// What events of the timer carry; those of a connection carry its index.
const TIMER: u64 = u64::MAX;

/// Plays on all `streams` until one breaks.
pub(super) fn play(streams: Vec<TcpStream>, bytes: usize, meter: &Meter) -> io::Result<()> {
    let mut connections = Connections::new(streams, bytes)?;
    let mut sent_at = vec![Instant::now(); connections.count()];
    for (at, sent_at) in sent_at.iter_mut().enumerate() {
        *sent_at = Instant::now();
        connections.send(at)?;
    }
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let ready = connections.epoll().wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            let at = event.data() as usize;
            if connections.proceed(at)? {
                meter.add_exchange(sent_at[at].elapsed());
                sent_at[at] = Instant::now();
                connections.send(at)?;
            }
        }
    }
}

/// Sends `per_s` messages a second until a connection breaks.
pub(super) fn pace(streams: Vec<TcpStream>, bytes: usize, per_s: u32, meter: &Meter) -> io::Result<()> {
    let interval = Duration::from_secs(1) / per_s;
    let mut paced = Paced::new(Connections::new(streams, bytes)?);
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    paced.connections.epoll().add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
    let mut next = Instant::now() + interval;
    timer.set(Expiration::Interval(TimeSpec::from_duration(interval)), TimerSetTimeFlags::empty())?;
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let ready = paced.connections.epoll().wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == TIMER {
                timer.wait()?;
                continue;
            }
            paced.proceed(event.data() as usize, meter)?;
        }
        let now = Instant::now();
        while next <= now {
            paced.send(next)?;
            next += interval;
        }
    }
}

/// Connections that take turns, and the messages whose time has come.
struct Paced {
    connections: Connections,
    turn: usize,
    /// By connection: when each message had to go; the first of them is under way.
    due: Vec<VecDeque<Instant>>,
}

impl Paced {
    fn new(connections: Connections) -> Self {
        let due = vec![VecDeque::new(); connections.count()];
        Self { connections, turn: 0, due }
    }

    /// A message's time has come: it goes, or waits for the one before it.
    fn send(&mut self, intended: Instant) -> io::Result<()> {
        let at = self.turn;
        self.turn = (at + 1) % self.due.len();
        self.due[at].push_back(intended);
        if self.due[at].len() > 1 {
            return Ok(());
        }
        self.connections.send(at)
    }

    fn proceed(&mut self, at: usize, meter: &Meter) -> io::Result<()> {
        if !self.connections.proceed(at)? {
            return Ok(());
        }
        if let Some(intended) = self.due[at].pop_front() {
            meter.add_exchange(intended.elapsed());
        }
        if self.due[at].is_empty() {
            return Ok(());
        }
        self.connections.send(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Two messages whose time came while the first one stood still: all three count from when they had to go.
    #[test]
    fn messages_that_had_to_wait_count_from_their_intended_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut paced = Paced::new(Connections::new(vec![client], 8).unwrap());
        let meter = Meter::default();
        meter.begin();
        let an_hour_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        for _ in 0..3 {
            paced.send(an_hour_ago).unwrap();
        }
        for _ in 0..3 {
            let mut message = [0; 8];
            server.read_exact(&mut message).unwrap();
            server.write_all(&message).unwrap();
            let before = meter.counted_exchanges();
            while meter.counted_exchanges() == before {
                paced.proceed(0, &meter).unwrap();
            }
        }
        let tally = meter.end().unwrap();
        assert_eq!(tally.exchanges, 3);
        assert!(tally.latency.unwrap().p50_us >= 60e6, "counted as the longest that is told apart");
    }
}
