//! The sealed copy: two blocking threads for each connection, each with one buffer that bytes are read into, sealed or
//! opened in, and written from.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::seal::{Keys, LENGTH_LEN, SALT_LEN, Sealer, Secret, TAG_LEN, random_salt};
use super::{
    DESTINATION_LEN, Side, TUNNEL_PORT, destination_from_bytes, destination_to_bytes, original_destination,
    reset_on_close,
};

/// Of a thread: it holds no buffers.
const STACK_BYTES: usize = 64 * 1024;

pub(super) fn run(side: Side, secret: &Secret, buffer_len: usize) -> Result<()> {
    let listener = TcpListener::bind(side.address()).with_context(|| format!("port {}", side.port()))?;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // One that was gone before it was accepted is no reason to end.
                eprintln!("accepting: {error}");
                continue;
            }
        };
        let secret = secret.clone();
        let work = move || match side {
            Side::Client => serve_client(stream, &secret, buffer_len),
            Side::Server => serve_tunnel(stream, &secret, buffer_len),
        };
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            if let Err(error) = work() {
                eprintln!("{error:#}");
            }
        })?;
    }
}

/// A redirected connection of an application.
fn serve_client(app: TcpStream, secret: &Secret, buffer_len: usize) -> Result<()> {
    let (wire, keys) = enter_tunnel(&app, secret).inspect_err(|_| reset_on_close(&app))?;
    exchange(app, wire, keys.to_server, keys.to_client, buffer_len)
}

/// A tunnel of the clients' side.
fn serve_tunnel(wire: TcpStream, secret: &Secret, buffer_len: usize) -> Result<()> {
    let (app, keys) = leave_tunnel(&wire, secret).inspect_err(|_| reset_on_close(&wire))?;
    exchange(app, wire, keys.to_client, keys.to_server, buffer_len)
}

/// To the pod where a redirected connection was meant to go, which is told the rest.
fn enter_tunnel(app: &TcpStream, secret: &Secret) -> Result<(TcpStream, Keys)> {
    let destination = original_destination(app)?;
    let mut wire = connect(SocketAddrV4::new(*destination.ip(), TUNNEL_PORT))?;
    let salt = random_salt()?;
    let mut keys = secret.keys(&salt)?;
    let mut opening = [0; SALT_LEN + LENGTH_LEN + DESTINATION_LEN + TAG_LEN];
    let (head, record) = opening.split_at_mut(SALT_LEN);
    head.copy_from_slice(&salt);
    record[LENGTH_LEN..][..DESTINATION_LEN].copy_from_slice(&destination_to_bytes(destination));
    keys.to_server.seal(record, DESTINATION_LEN)?;
    wire.write_all(&opening)?;
    Ok((wire, keys))
}

/// To the application of this pod that a tunnel names first.
fn leave_tunnel(mut wire: &TcpStream, secret: &Secret) -> Result<(TcpStream, Keys)> {
    let mut salt = [0; SALT_LEN];
    wire.read_exact(&mut salt).context("a tunnel ended before it began")?;
    let mut keys = secret.keys(&salt)?;
    let mut record = [0; LENGTH_LEN + DESTINATION_LEN + TAG_LEN];
    wire.read_exact(&mut record).context("a tunnel ended before it said where to")?;
    let destination = <[u8; DESTINATION_LEN]>::try_from(&*keys.to_server.open(&mut record)?)?;
    Ok((connect(destination_from_bytes(destination))?, keys))
}

fn connect(to: SocketAddrV4) -> Result<TcpStream> {
    TcpStream::connect(to).with_context(|| format!("connecting to {to}"))
}

/// Both directions until both have ended. A failure of one is the end of both: nobody is left who could tell.
fn exchange(
    app: TcpStream,
    wire: TcpStream,
    outgoing: Sealer,
    incoming: Sealer,
    buffer_len: usize,
) -> Result<()> {
    app.set_nodelay(true)?;
    wire.set_nodelay(true)?;
    let (app, wire) = (&app, &wire);
    let abort_on_error = |done: Result<()>| {
        if done.is_err() {
            // The other thread sleeps in one of the two: a reset wakes it, and tells both peers.
            let _ = rustix::net::connect_unspec(app);
            let _ = rustix::net::connect_unspec(wire);
        }
        done
    };
    thread::scope(|scope| {
        let seal = || abort_on_error(seal_all(app, wire, outgoing, buffer_len));
        let sealing = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, seal)?;
        let opened = abort_on_error(open_all(wire, app, incoming, buffer_len));
        let sealed = sealing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        opened.and(sealed)
    })
}

/// What the application sends, in records as large as what is there to read.
fn seal_all(mut app: &TcpStream, mut wire: &TcpStream, mut sealer: Sealer, buffer_len: usize) -> Result<()> {
    let mut buffer = vec![0; LENGTH_LEN + buffer_len + TAG_LEN];
    loop {
        let payload_len = read(&mut app, &mut buffer[LENGTH_LEN..][..buffer_len])?;
        let record_len = sealer.seal(&mut buffer, payload_len)?;
        wire.write_all(&buffer[..record_len])?;
        if payload_len == 0 {
            return Ok(wire.shutdown(Shutdown::Write)?);
        }
    }
}

/// What comes over the wire, record by record.
fn open_all(wire: &TcpStream, mut app: &TcpStream, mut sealer: Sealer, buffer_len: usize) -> Result<()> {
    let mut records = Records::new(wire, buffer_len);
    loop {
        let payload = sealer.open(records.next()?)?;
        if payload.is_empty() {
            return Ok(app.shutdown(Shutdown::Write)?);
        }
        app.write_all(payload)?;
    }
}

/// Whole records out of a stream.
#[derive(Debug)]
struct Records<R> {
    source: R,
    /// As long as the longest record and what is read of the next one with it.
    buffer: Vec<u8>,
    /// The record that was given out last ends here.
    begin: usize,
    end: usize,
}

impl<R: Read> Records<R> {
    fn new(source: R, payload_len_max: usize) -> Self {
        let longest = LENGTH_LEN + payload_len_max + TAG_LEN;
        Self { source, buffer: vec![0; longest + LENGTH_LEN], begin: 0, end: 0 }
    }

    /// The next one. The stream never ends between two: its end is a record too.
    fn next(&mut self) -> Result<&mut [u8]> {
        loop {
            let wanted = self.wanted()?;
            if let Some(len) = wanted
                && self.end - self.begin >= len
            {
                let begin = self.begin;
                self.begin += len;
                return Ok(&mut self.buffer[begin..begin + len]);
            }
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            // Up to the length of the next record and not further, so that a stream of long ones is never moved.
            let limit = wanted.map_or(self.buffer.len(), |len| len + LENGTH_LEN);
            let read = read(&mut self.source, &mut self.buffer[self.end..limit])?;
            ensure!(read > 0, "a tunnel ended inside a record");
            self.end += read;
        }
    }

    /// How long the record is that begins here, when enough of it is there to tell.
    fn wanted(&self) -> Result<Option<usize>> {
        let Some(length) = self.buffer[self.begin..self.end].first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let len = LENGTH_LEN + u32::from_be_bytes(*length) as usize + TAG_LEN;
        ensure!(len + LENGTH_LEN <= self.buffer.len(), "a record longer than both sides agreed on");
        Ok(Some(len))
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{connected, expect_reset};
    use super::*;

    const BUFFER_LEN: usize = 4096;

    /// Gives out a few bytes at a time, as a slow network does.
    struct Dribble(Vec<u8>, usize);

    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.1.min(buffer.len()).min(self.0.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    fn framed(payload_len: usize) -> Vec<u8> {
        let mut record = (payload_len as u32).to_be_bytes().to_vec();
        record.resize(LENGTH_LEN + payload_len + TAG_LEN, payload_len as u8);
        record
    }

    #[test]
    fn records_are_whole_however_they_arrive() {
        let lens = [1, BUFFER_LEN, 0, 7, BUFFER_LEN, BUFFER_LEN, 100, 3];
        let stream: Vec<u8> = lens.into_iter().flat_map(framed).collect();
        for at_a_time in [1, 3, 4, 5, 20, 21, 1000, BUFFER_LEN + 20, usize::MAX] {
            let mut records = Records::new(Dribble(stream.clone(), at_a_time), BUFFER_LEN);
            for len in lens {
                assert_eq!(*records.next().unwrap(), framed(len), "{at_a_time} at a time");
            }
            assert!(records.next().is_err(), "the stream ended without a record that says so");
        }
        assert!(Records::new(Dribble(framed(BUFFER_LEN + 1), 100), BUFFER_LEN).next().is_err());
    }

    /// An application at each end of two copies, joined by a wire.
    fn two_ends() -> (TcpStream, TcpStream) {
        let ((client, near), (far, server), wire) = (connected(), connected(), connected());
        let secret = Secret::new(&[9; 32]).unwrap();
        let keys = || secret.keys(&[1; SALT_LEN]).unwrap();
        let (here, there) = (keys(), keys());
        thread::spawn(move || exchange(near, wire.0, here.to_server, here.to_client, BUFFER_LEN));
        thread::spawn(move || exchange(far, wire.1, there.to_client, there.to_server, BUFFER_LEN));
        (client, server)
    }

    #[test]
    fn bytes_and_their_end_are_carried_both_ways() {
        let (mut client, mut server) = two_ends();
        let sent: Vec<u8> = (0..1_000_000u32).map(|at| at as u8).collect();
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert!(received == expected);
        server.write_all(b"after the other end").unwrap();
        drop(server);
        assert_eq!(writer.join().unwrap(), b"after the other end");
    }

    #[test]
    fn a_reset_is_carried_either_way() {
        for client_resets in [true, false] {
            let (client, server) = two_ends();
            let (resets, other) = if client_resets { (client, server) } else { (server, client) };
            reset_on_close(&resets);
            drop(resets);
            expect_reset(other);
        }
    }
}
