//! A lot of bytes, and a lot of connections.

use std::io::{Read, Write};

use testkit::capture::{Capture, HEADERS_BYTES};
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, transfer};

use crate::needs;

const PORT: u16 = 8080;
const GIBIBYTE: u64 = 1 << 30;

#[test]
fn a_gibibyte_each_way_arrives_as_it_was_sent() {
    needs!(Ringway);
    let (mesh, client, server) = crate::start_two_pods();
    let _server = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    let stream = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let took = transfer::exchange(&stream, GIBIBYTE).unwrap();
    println!("1 GiB each way in {:.1} s", took.as_secs_f64());
    drop(mesh);
}

#[test]
fn a_thousand_connections_are_open_at_once_and_each_gets_its_own_bytes() {
    needs!(Ringway);
    const COUNT: u32 = 1000;
    let (mesh, client, server) = crate::start_two_pods();
    let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let capture = Capture::start(&mesh.lab.nodes()[1].netns, &server.link, server.ipv4.into(), HEADERS_BYTES);
    let mut streams: Vec<_> =
        (0..COUNT).map(|_| connect(&client.netns, (server.ipv4, PORT)).unwrap()).collect();
    let message = |number: u32| -> Vec<u8> { number.to_be_bytes().repeat(1000) };
    for (stream, number) in streams.iter_mut().zip(0..) {
        stream.write_all(&message(number)).unwrap();
    }
    for (stream, number) in streams.iter_mut().zip(0..) {
        let mut answer = vec![0; 4000];
        stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert!(answer == message(number), "connection {number} got another's bytes");
    }
    assert_eq!(echo.open() as u32, COUNT);
    drop(streams);
    let seen = capture.unwrap().finish().unwrap().between(&client.addresses(), &server.addresses());
    assert!(seen.is_encrypted(u64::from(COUNT) * 8000), "{seen}");
    println!("{COUNT} connections: {seen}");
}
