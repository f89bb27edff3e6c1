//! Ends of connections: half closes, resets and last bytes mean at one end what they meant at the other, through a
//! tunnel, out to a pod that is not enrolled, and in from one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions};
use testkit::process::wait_until;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{PATIENCE_TIMEOUT, abort, connect, pattern, read, transfer};

use crate::needs;

const PORT: u16 = 8080;
const MEBIBYTE: u64 = 1 << 20;

/// A mesh and the three ways a connection can take through it.
struct Ways {
    _mesh: Mesh,
    pairs: Vec<(&'static str, Arc<Pod>, Arc<Pod>)>,
}

impl Ways {
    fn new() -> Self {
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
        let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
        let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
        let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
        let stranger = lab.add_pod(&two, PodSpec::new("stranger").not_enrolled()).unwrap();
        let pairs = vec![
            ("tunnel", Arc::clone(&client), Arc::clone(&server)),
            ("passthrough", client, stranger),
            ("plain inbound", outsider, server),
        ];
        Self { _mesh: crate::start(lab, MeshOptions::default()), pairs }
    }

    /// Runs `check` on every way with a server of that kind and a connection to it.
    fn each(&self, service: Service, check: impl Fn(&str, TcpStream, &Server)) {
        for (way, client, server) in &self.pairs {
            let running = Server::start(&server.netns, PORT, service).unwrap();
            let stream = connect(&client.netns, (server.ipv4, PORT)).unwrap();
            check(way, stream, &running);
        }
    }
}

#[test]
fn a_client_that_ended_its_side_still_gets_the_answer() {
    needs!(Ringway);
    Ways::new().each(Service::Count, |way, mut stream, _| {
        transfer::send_pattern(&stream, MEBIBYTE).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("{MEBIBYTE} bytes\n"), "{way}");
    });
}

#[test]
fn a_server_that_ended_its_side_still_gets_the_request() {
    needs!(Ringway);
    Ways::new().each(Service::SpeakThenListen, |way, mut stream, server| {
        let mut parting = String::new();
        stream.read_to_string(&mut parting).unwrap();
        assert_eq!(parting, "parting\n", "{way}");
        transfer::send_pattern(&stream, MEBIBYTE).unwrap();
        drop(stream);
        received(way, server, MEBIBYTE);
    });
}

#[test]
fn what_was_sent_before_the_close_arrives() {
    needs!(Ringway);
    Ways::new().each(Service::Count, |way, stream, server| {
        transfer::send_pattern(&stream, 8 * MEBIBYTE).unwrap();
        drop(stream);
        received(way, server, 8 * MEBIBYTE);
    });
    let ways = Ways::new();
    ways.each(Service::Http, |way, mut stream, _| {
        // The server closes as soon as it has written; the client reads only then.
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(pattern::at(0, 64 << 10)), "{way}: {} bytes", answer.len());
    });
}

fn received(way: &str, server: &Server, bytes: u64) {
    let what = format!("{bytes} bytes, {way}");
    let all = wait_until(&what, PATIENCE_TIMEOUT, || Ok((server.received() >= bytes).then_some(())));
    all.unwrap_or_else(|error| panic!("{error}: {} came", server.received()));
    assert_eq!(server.received(), bytes, "{way}");
}

#[test]
fn a_reset_of_the_client_reaches_the_server_as_a_reset() {
    needs!(Ringway);
    Ways::new().each(Service::Echo, |way, mut stream, server| {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        abort(stream).unwrap();
        let ends = wait_until(&format!("the reset, {way}"), Duration::from_secs(20), || {
            Ok((server.open() == 0).then(|| server.ended_badly()))
        });
        assert_eq!(ends.unwrap(), [ErrorKind::ConnectionReset], "{way}");
    });
}

#[test]
fn a_reset_of_the_server_reaches_the_client_as_a_reset() {
    needs!(Ringway);
    Ways::new().each(Service::Reset, |way, mut stream, _| {
        stream.write_all(b"x").unwrap();
        let end = read(&stream, &mut [0]);
        assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset), "{way}");
    });
}

#[test]
fn a_server_may_speak_first() {
    needs!(Ringway);
    Ways::new().each(Service::Greeter, |way, mut stream, _| {
        let mut hello = [0; 6];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello ", "{way}");
    });
}

#[test]
fn a_port_nobody_listens_on_ends_the_connection() {
    needs!(Ringway);
    let ways = Ways::new();
    for (way, client, server) in &ways.pairs {
        // A captured connection is accepted before its end is known; then it ends without a byte.
        if let Ok(stream) = connect(&client.netns, (server.ipv4, 9999)) {
            let end = read(&stream, &mut [0]);
            let is_end =
                matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
            assert!(is_end, "{way}");
        }
    }
}
