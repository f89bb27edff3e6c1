//! Bulk in both directions at once, checked byte by byte.
//!
//! The client sends its wish (a count, 8 bytes), then that many pattern bytes, and ends its side; the server sends the
//! same count while it reads, then one byte: whether what it got was right.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{pattern, read};

/// Written and read at once.
const CHUNK_BYTES: usize = 256 << 10;

const RIGHT: u8 = b'y';
const WRONG: u8 = b'n';

/// Sends and receives `count` bytes at once; how long it took. An error names the first wrong byte.
pub fn exchange(stream: &TcpStream, count: u64) -> io::Result<Duration> {
    let begin = Instant::now();
    let mut writer = stream;
    writer.write_all(&count.to_be_bytes())?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            send_pattern(stream, count)?;
            stream.shutdown(Shutdown::Write)
        });
        let received = receive_pattern(stream, count);
        let verdict = received.and_then(|()| read_verdict(stream));
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent.and(verdict)
    })?;
    Ok(begin.elapsed())
}

/// The other end of [`exchange`].
pub fn serve_exchange(stream: &TcpStream) -> io::Result<()> {
    let mut count = [0; 8];
    (&mut &*stream).read_exact(&mut count)?;
    let count = u64::from_be_bytes(count);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_pattern(stream, count));
        let received = receive_pattern(stream, count).and_then(|()| expect_end(stream));
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let verdict = if received.is_ok() { RIGHT } else { WRONG };
        (&mut &*stream).write_all(&[verdict])?;
        stream.shutdown(Shutdown::Write)?;
        received
    })
}

/// Sends `count` bytes of the pattern.
pub fn send_pattern(mut stream: &TcpStream, count: u64) -> io::Result<()> {
    let mut sent = 0;
    while sent < count {
        let room = CHUNK_BYTES.min(usize::try_from(count - sent).unwrap_or(CHUNK_BYTES));
        let chunk = pattern::at(sent, room);
        stream.write_all(chunk)?;
        sent += chunk.len() as u64;
    }
    Ok(())
}

/// Receives `count` bytes and compares them.
pub fn receive_pattern(stream: &TcpStream, count: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut received = 0;
    while received < count {
        let room = CHUNK_BYTES.min(usize::try_from(count - received).unwrap_or(CHUNK_BYTES));
        let chunk = match read(stream, &mut buffer[..room])? {
            0 => return Err(wrong(format!("the end came after {received} of {count} bytes"))),
            count => &buffer[..count],
        };
        pattern::check(received, chunk).map_err(|at| wrong(format!("byte {at} of {count} is wrong")))?;
        received += chunk.len() as u64;
    }
    Ok(())
}

/// The peer's end, and nothing before it.
pub fn expect_end(stream: &TcpStream) -> io::Result<()> {
    match read(stream, &mut [0])? {
        0 => Ok(()),
        _ => Err(wrong("bytes after the end".to_owned())),
    }
}

fn read_verdict(stream: &TcpStream) -> io::Result<()> {
    let mut verdict = [0];
    (&mut &*stream).read_exact(&mut verdict)?;
    expect_end(stream)?;
    match verdict[0] {
        RIGHT => Ok(()),
        _ => Err(wrong("the server got wrong bytes".to_owned())),
    }
}

fn wrong(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn an_exchange_succeeds_on_both_ends() {
        for count in [0, 1, 3_000_000] {
            let (client, server) = pair();
            let serving = thread::spawn(move || serve_exchange(&server));
            exchange(&client, count).unwrap();
            serving.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_wrong_byte_and_a_short_transfer_are_found() {
        let (client, server) = pair();
        (&client).write_all(&[pattern::at(0, 1)[0], pattern::at(1, 1)[0] ^ 1]).unwrap();
        let error = receive_pattern(&server, 2).unwrap_err().to_string();
        assert!(error.contains("byte 1"), "{error}");
        let (client, server) = pair();
        send_pattern(&client, 10).unwrap();
        drop(client);
        let error = receive_pattern(&server, 11).unwrap_err().to_string();
        assert!(error.contains("after 10 of 11"), "{error}");
    }

    #[test]
    fn the_server_tells_the_client_of_what_it_got_wrong() {
        let (client, server) = pair();
        let serving = thread::spawn(move || serve_exchange(&server));
        (&client).write_all(&2_u64.to_be_bytes()).unwrap();
        (&client).write_all(b"no").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        receive_pattern(&client, 2).unwrap();
        assert!(read_verdict(&client).is_err());
        assert!(serving.join().unwrap().is_err());
    }
}
