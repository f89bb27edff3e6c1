//! One TCP stream as fast as it goes. The receiver counts: what was sent may still lie in a buffer of a proxy.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::meter::Meter;

/// Written and read at once: what iperf3 takes.
const CHUNK_BYTES: usize = 128 << 10;

/// How often a slow reader reads.
const SLOW_INTERVAL: Duration = Duration::from_millis(50);

/// Sends until the connection breaks.
pub(super) fn send(mut stream: &TcpStream) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    loop {
        stream.write_all(&chunk)?;
    }
}

/// Receives and counts; the end of the stream is an error, since a sender never ends it.
pub(super) fn receive(mut stream: &TcpStream, meter: &Meter) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => meter.add_received(count),
        }
    }
}

/// Receives at a steady pace and counts nothing.
pub(super) fn receive_slowly(mut stream: &TcpStream, bytes_per_s: usize) -> io::Result<()> {
    let mut portion = vec![0; (bytes_per_s as f64 * SLOW_INTERVAL.as_secs_f64()) as usize];
    let mut next = Instant::now();
    loop {
        stream.read_exact(&mut portion)?;
        next += SLOW_INTERVAL;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Receives on every connection. A client that goes away is no failure of the server.
pub(super) fn serve_sink(listener: &TcpListener, meter: &Arc<Meter>) {
    for stream in listener.incoming().flatten() {
        let meter = Arc::clone(meter);
        thread::spawn(move || receive(&stream, &meter));
    }
}

/// Sends on every connection.
pub(super) fn serve_source(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            stream.set_nodelay(true)?;
            send(&stream)
        });
    }
}
