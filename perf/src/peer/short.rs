//! Short connections: connect, a message each way, and the server closes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::{PATIENCE_TIMEOUT, connect_to};
use crate::protocol::{MESSAGE_BYTES, Port};

/// One connection after the other until one fails.
pub(super) fn connect_again_and_again(server: SocketAddrV4, meter: &Meter) -> io::Result<()> {
    loop {
        let begin = Instant::now();
        exchange(server)?;
        meter.add_exchange(begin.elapsed());
    }
}

/// One connection to each address, by so many workers at once.
pub(super) fn connect_each(servers: Vec<Ipv4Addr>, workers: usize, meter: &Meter) -> io::Result<()> {
    let left = Mutex::new(VecDeque::from(servers));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> io::Result<()> {
        while let Some(server) = next() {
            let begin = Instant::now();
            exchange(Port::Short.of(server))?;
            meter.add_exchange(begin.elapsed());
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// A connection to each address, so many a second, until the first byte came back.
pub(super) fn first_bytes(servers: Vec<Ipv4Addr>, per_s: u32, meter: &Meter) -> io::Result<()> {
    let interval = Duration::from_secs(1) / per_s;
    let mut intended = Instant::now();
    for server in servers {
        intended += interval;
        thread::sleep(intended.saturating_duration_since(Instant::now()));
        let first_byte_at = exchange(Port::Short.of(server))?;
        meter.add_exchange(first_byte_at.saturating_duration_since(intended));
    }
    Ok(())
}

/// When the first byte came back.
fn exchange(server: SocketAddrV4) -> io::Result<Instant> {
    let mut stream = connect_to(server)?;
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    stream.write_all(&[0x5a; MESSAGE_BYTES])?;
    // With room for one byte more, so that it reads up to the end of the stream.
    let mut answer = [0; MESSAGE_BYTES + 1];
    let mut count = stream.read(&mut answer)?;
    let first_byte_at = Instant::now();
    while let more @ 1.. = stream.read(&mut answer[count..])? {
        count += more;
    }
    if count != MESSAGE_BYTES {
        let message = format!("{count} bytes came back instead of {MESSAGE_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(first_byte_at)
}
