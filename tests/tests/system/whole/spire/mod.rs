//! Certificates from SPIRE: from the real one, and from an agent that misbehaves as a test wants.

mod real;
mod roots;
mod scripted;

use std::io::{Read, Write};

use testkit::lab::Pod;
use testkit::traffic::connect;

/// One connection to an echo, and whether it answered.
fn exchanges(client: &Pod, server: &Pod, port: u16) -> bool {
    let Ok(mut stream) = connect(&client.netns, (server.ipv4, port)) else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"spire").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"spire"
}

/// One connection that the proxies do not carry: it ends without an answer.
fn refused(client: &Pod, server: &Pod, port: u16) -> bool {
    !exchanges(client, server, port)
}
