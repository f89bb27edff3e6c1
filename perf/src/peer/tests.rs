//! Every load between two generators of this process.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use super::*;
use crate::protocol::Tally;

/// Ports are fixed, so there is one server for all tests. It listens at [`own_address`].
static SERVER: LazyLock<Generator> = LazyLock::new(|| {
    let server = Generator::default();
    server.listen(own_address()).unwrap();
    ask(&server, Request::Begin);
    server
});

/// An address at which no other process has these ports: a part of loopback for each.
fn own_address() -> Ipv4Addr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, a, b, c)
}

fn ask(generator: &Generator, request: Request) {
    assert!(matches!(generator.answer(request).unwrap(), Reply::Done));
}

fn end(generator: &Generator) -> Tally {
    match generator.answer(Request::End).unwrap() {
        Reply::Tally(tally) => tally,
        other => panic!("{other:?}"),
    }
}

/// A client whose window is open, with this load under way.
fn client_with(load: Load) -> Generator {
    LazyLock::force(&SERVER);
    let client = Generator::default();
    ask(&client, Request::Begin);
    ask(&client, Request::Start { load, server: own_address() });
    client
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn bulk_is_counted_where_it_arrives() {
    let _sending = client_with(Load::Bulk);
    wait_until(|| SERVER.meter.counted_bytes() > 0);
    let receiving = client_with(Load::BulkReverse);
    wait_until(|| receiving.meter.counted_bytes() > 0);
    assert_eq!(end(&receiving).exchanges, 0);
}

#[test]
fn messages_of_any_length_come_back_in_both_loops() {
    for (connections, bytes, per_s) in [(1, 64, 1000), (20, 4 << 20, 10_000)] {
        let closed = client_with(Load::PingPong { connections, bytes });
        let paced = client_with(Load::PacedPingPong { connections, bytes, per_s });
        for client in [closed, paced] {
            let enough = 3 * connections as u64;
            wait_until(|| client.meter.counted_exchanges() >= enough);
            let tally = end(&client);
            assert!(tally.exchanges >= enough && tally.latency.unwrap().p50_us > 0.0);
        }
    }
}

#[test]
fn short_connections_go_on_or_end_with_their_addresses() {
    let client = client_with(Load::Connect { workers: 2 });
    wait_until(|| client.meter.counted_exchanges() >= 100);
    end(&client);
    let servers = vec![own_address(); 100];
    for errand in [
        Errand::ConnectEach { servers: servers.clone(), workers: 3 },
        Errand::FirstBytes { servers, per_s: 10_000 },
        Errand::Storm { connections: 100 },
    ] {
        let client = Generator::default();
        ask(&client, Request::Begin);
        ask(&client, Request::Run { errand, server: own_address() });
        let tally = end(&client);
        assert_eq!((tally.exchanges, tally.failures), (100, 0));
    }
}

#[test]
fn a_storm_counts_what_fails_and_other_errands_end_with_it() {
    LazyLock::force(&SERVER);
    // Reserved, so nothing routes there, whatever the machine's routes are.
    let nowhere = Ipv4Addr::BROADCAST;
    let client = Generator::default();
    for errand in [
        Errand::ConnectEach { servers: vec![nowhere], workers: 2 },
        Errand::FirstBytes { servers: vec![nowhere], per_s: 1000 },
    ] {
        assert!(client.answer(Request::Run { errand, server: nowhere }).is_err());
    }
    ask(&client, Request::Begin);
    client.answer(Request::Run { errand: Errand::Storm { connections: 5 }, server: nowhere }).unwrap();
    let tally = end(&client);
    assert_eq!((tally.exchanges, tally.failures), (0, 5));
}

#[test]
fn readers_that_stand_or_are_slow_and_idle_connections_count_nothing() {
    for load in [
        Load::StandingReaders { connections: 4 },
        Load::SlowReaders { connections: 4, bytes_per_s: 1 << 20 },
        Load::Idle { connections: 30 },
    ] {
        let tally = end(&client_with(load));
        assert_eq!((tally.exchanges, tally.received_bytes, tally.latency), (0, 0, None));
    }
}

#[test]
fn an_idle_connection_that_ends_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
    for unwanted in [EpollFlags::empty(), EpollFlags::EPOLLIN] {
        let streams = [client.try_clone().unwrap()];
        assert!(idle::hold(&streams, unwanted).unwrap_err().to_string().contains("closed"));
    }
}

#[test]
fn a_load_without_a_server_is_an_error_at_the_start() {
    // TCP can't connect to the broadcast address, whatever the machine's routes are.
    let request = Request::Start { load: Load::Bulk, server: Ipv4Addr::BROADCAST };
    let error = Generator::default().answer(request).unwrap_err();
    assert!(format!("{error:#}").contains("255.255.255.255"), "{error:#}");
}
