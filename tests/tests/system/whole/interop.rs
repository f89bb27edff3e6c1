//! ztunnel at the other end, both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use testkit::capture::Capture;
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::process::wait_until;
use testkit::proxy::ProxyKind::{self, Ringway, Ztunnel};
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, read, transfer};

use crate::needs;

const EXCHANGE_PORT: u16 = 8080;
const COUNT_PORT: u16 = 8081;
const ECHO_PORT: u16 = 8082;
const RESET_PORT: u16 = 8083;
const GREETER_PORT: u16 = 8084;

const EACH_WAY_BYTES: u64 = 64 << 20;
const PARALLEL: usize = 300;

#[test]
fn two_ztunnels_satisfy_the_kit() {
    needs!(Ztunnel);
    // Not of ringway, but of the tests below: what they ask for is what ztunnels do among themselves.
    talk([Ztunnel, Ztunnel]);
}

#[test]
fn ringway_talks_to_a_ztunnel() {
    needs!(Ztunnel);
    talk([Ringway, Ztunnel]);
}

#[test]
fn a_ztunnel_talks_to_ringway() {
    needs!(Ztunnel);
    talk([Ztunnel, Ringway]);
}

fn talk(kinds: [ProxyKind; 2]) {
    let (lab, client, server) = two_pods().unwrap();
    let mut mesh = Mesh::start(lab, MeshOptions { kinds: kinds.to_vec(), ..MeshOptions::default() }).unwrap();
    let services = [
        (EXCHANGE_PORT, Service::Exchange),
        (COUNT_PORT, Service::Count),
        (ECHO_PORT, Service::Echo),
        (RESET_PORT, Service::Reset),
        (GREETER_PORT, Service::Greeter),
    ];
    let servers = services.map(|(port, service)| Server::start(&server.netns, port, service).unwrap());
    let open = |port| connect(&client.netns, (server.ipv4, port)).unwrap();
    let capture = Capture::of_pod(&mesh.lab, &server).unwrap();
    transfer::exchange(&open(EXCHANGE_PORT), 1 << 20).unwrap();
    let seen = capture.finish().unwrap().between(&client.addresses(), &server.addresses());
    assert!(seen.is_encrypted(2 << 20), "{seen}");
    transfer::exchange(&open(EXCHANGE_PORT), EACH_WAY_BYTES).unwrap();
    let mut half = open(COUNT_PORT);
    half.write_all(&[7; 100_000]).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "100000 bytes\n");
    let mut hello = [0; 6];
    open(GREETER_PORT).read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello ");
    // More than one tunnel's streams at once.
    let mut streams: Vec<_> = (0..PARALLEL).map(|_| open(ECHO_PORT)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(b"echo").unwrap());
    streams.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 4]).unwrap());
    assert_eq!(servers[2].open(), PARALLEL);
    drop(streams);
    let gone =
        wait_until("their ends", Duration::from_secs(20), || Ok((servers[2].open() == 0).then_some(())));
    gone.unwrap();
    let mut reset = open(RESET_PORT);
    reset.write_all(b"x").unwrap();
    let end = read(&reset, &mut [0]).map_err(|error| error.kind());
    // A ztunnel turns resets into ends; ringway as the client's side cannot know what the other kept from it.
    assert!(end == Ok(0) || end == Err(ErrorKind::ConnectionReset), "{end:?}");
    mesh.expect_running().unwrap();
}
