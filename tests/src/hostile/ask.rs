//! What a proxy's tunnel port answers to who comes with a certificate of a test.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::frames::{self, Answer};
use super::tls;
use crate::authority::Leaf;

/// Shakes hands and asks for a connection to `authority`; `None` when refused before an answer.
pub fn ask(stream: TcpStream, leaf: Option<&Leaf>, authority: &str) -> Option<Answer> {
    let mut tls = tls::connect(stream, leaf).ok()?;
    let request = [frames::opening(), frames::connect(1, authority)].concat();
    tls.write_all(&request).and_then(|()| tls.flush()).ok()?;
    let mut first = [0];
    tls.read_exact(&mut first).ok()?;
    // The first byte belongs to the first frame: put it back.
    let mut rest = Joined { first: Some(first[0]), tls };
    frames::answer(&mut rest, 1).ok()
}

/// A byte that was read already, before what is still to come.
struct Joined {
    first: Option<u8>,
    tls: tls::ClientStream,
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.first.take(), buffer.first_mut()) {
            (Some(byte), Some(place)) => {
                *place = byte;
                Ok(1)
            }
            _ => self.tls.read(buffer),
        }
    }
}

impl Write for Joined {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.tls.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.tls.flush()
    }
}
