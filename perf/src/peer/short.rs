//! Short connections: connect, a message each way, close.
//!
//! The server closes first, so that no client port waits in TIME_WAIT: what is measured is the proxies and not how many
//! ports a pod has.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use super::meter::Meter;
use super::{PATIENCE_TIMEOUT, connect_to};
use crate::protocol::MESSAGE_BYTES;

/// Threads that accept and serve.
const SERVERS: usize = 8;

/// Serves short connections on threads of its own.
pub(super) fn serve(listener: TcpListener) -> Result<()> {
    for _ in 0..SERVERS {
        let listener = listener.try_clone()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no failure of the server.
                let _ = answer(&stream);
            }
        });
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    stream.read_exact(&mut message)?;
    stream.write_all(&message)
}

/// One connection after the other until one fails.
pub(super) fn connect_again_and_again(server: SocketAddr, meter: &Meter) -> io::Result<()> {
    loop {
        let begin = Instant::now();
        let mut stream = connect_to(server)?;
        stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
        stream.write_all(&[0x5a; MESSAGE_BYTES])?;
        // With room for one byte more, so that it reads up to the end of the stream.
        let mut answer = [0; MESSAGE_BYTES + 1];
        let mut count = 0;
        while let more @ 1.. = stream.read(&mut answer[count..])? {
            count += more;
        }
        if count != MESSAGE_BYTES {
            let message = format!("{count} bytes came back instead of {MESSAGE_BYTES}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        meter.add_exchange(begin.elapsed());
    }
}
