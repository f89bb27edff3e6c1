//! Certificates that are replaced while they are in use.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::authority::{Authority, Validity};
use testkit::hostile::tls;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::proxy::ProxyOptions;
use testkit::traffic::latency::ping_pong;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, connect_here};
use testkit::wire::HBONE_PORT;

use crate::needs;

const PORT: u16 = 8080;
const TTL: Duration = Duration::from_secs(6);
/// Several lifetimes.
const TRAFFIC_TIME: Duration = Duration::from_secs(20);
const THREADS: usize = 4;

#[test]
fn no_connection_fails_while_certificates_are_replaced() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let proxy = ProxyOptions { certificate_ttl: TTL, ..ProxyOptions::default() };
    // Tunnels that are let go of at once have to be made anew, with the certificate of the moment.
    let proxy = proxy.environment("POOL_UNUSED_RELEASE_TIMEOUT", "1s");
    let mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let authority = Authority::open(mesh.authority_directory()).unwrap();
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let first = certificate(&authority, &outsider, &server);
    let standing = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let ended = AtomicBool::new(false);
    let connections: usize = thread::scope(|scope| {
        let call = || {
            let mut calls = 0;
            while !ended.load(Ordering::Acquire) {
                call(&client, &server);
                calls += 1;
            }
            calls
        };
        let callers: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
        let exchanged = ping_pong(&standing, 64, TRAFFIC_TIME);
        ended.store(true, Ordering::Release);
        let calls = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        assert!(exchanged.unwrap().count() > 0);
        calls
    });
    let last = certificate(&authority, &outsider, &server);
    assert_ne!(first, last, "the certificate was not replaced");
    println!("{connections} connections over {} lifetimes", TRAFFIC_TIME.as_secs() / TTL.as_secs());
}

/// One connection, one exchange.
fn call(client: &Pod, server: &Pod) {
    client.netns.enter(|| {
        let begin = Instant::now();
        let mut stream = connect_here((server.ipv4, PORT).into()).unwrap();
        stream.write_all(b"rotating").unwrap();
        let mut answer = [0; 8];
        let read = stream.read_exact(&mut answer);
        assert!(read.is_ok() && &answer == b"rotating", "after {:?}: {read:?}", begin.elapsed());
    });
}

/// The certificate that the server's proxy shows now.
fn certificate(authority: &Authority, outsider: &Pod, server: &Pod) -> Vec<u8> {
    let leaf = authority.issue(&["spiffe://cluster.local/ns/default/sa/client"], Validity::Now).unwrap();
    let stream = connect(&outsider.netns, (server.ipv4, HBONE_PORT)).unwrap();
    let tls = tls::connect(stream, Some(&leaf)).unwrap();
    tls.conn.peer_certificates().unwrap()[0].to_vec()
}
