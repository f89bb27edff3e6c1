//! What becomes of connections when pods come and go, and when the shard drains and ends.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{Command, PodSpec};
use super::bench::{Bench, config};
use crate::engine::EngineConfig;
use crate::net::Port;
use crate::observe::{Direction, Observation};
use crate::relay::tests::fixture::{App, Took, Transfer};

fn is_gone(app: &mut App) -> bool {
    matches!(app.read(usize::MAX), Took::Reset) || app.is_reset()
}

#[test]
fn a_pod_that_leaves_takes_all_its_connections_with_it() {
    for uid in ["client", "server"] {
        let mut bench = Bench::new();
        let (mut caller, mut called) = bench.connect();
        let mut bulk = Transfer::new(1, 1 << 30);
        for _ in 0..100 {
            bulk.write(&mut caller, usize::MAX);
            bulk.read(&mut called, 100_000);
            bench.turn();
        }
        bench.shard.remove_pod(uid);
        bench.until("both applications are reset", |_| is_gone(&mut caller));
        bench.until("both applications are reset", |_| is_gone(&mut called));
        bench.until("nothing is left", |bench| bench.is_empty());
        assert_eq!(bench.records.len(), 2, "{:?}", bench.records);
        bench.end();
    }
}

#[test]
fn a_pod_that_leaves_takes_what_is_being_set_up_with_it() {
    // Stuck in the handshake; and waiting for somebody who is.
    let mut bench = Bench::new();
    bench.door_is_shut = true;
    let mut callers: Vec<_> = (0..3).map(|_| bench.call()).collect();
    bench.until("one of them knocks", |bench| bench.knocked == 1);
    bench.shard.remove_pod("client");
    for caller in &mut callers {
        bench.until("the application is reset", |_| is_gone(caller));
    }
    bench.until("nothing is left", |bench| bench.is_empty());
    assert_eq!(bench.records.len(), 3, "each is told of: {:?}", bench.records);
    bench.end();
}

#[test]
fn a_pod_that_leaves_takes_a_stream_that_waits_for_its_answer_with_it() {
    for uid in ["client", "server"] {
        let mut bench = Bench::new();
        let (first, second) = bench.connect();
        let mut caller = bench.call();
        bench.until("the CONNECT is sent", |bench| {
            let tables = bench.shard.tables.borrow();
            tables.relays.keys().into_iter().any(|key| tables.relays.get(key).unwrap().is_opening())
        });
        bench.shard.remove_pod(uid);
        bench.until("the application is reset", |_| is_gone(&mut caller));
        bench.until("nothing is left", |bench| bench.is_empty());
        bench.turns(50);
        assert!(
            uid == "client" || bench.accept_app().is_none(),
            "an application of a pod that left is called"
        );
        // Two of the connection that stood, one of the caller; and one of the request if the server had seen it.
        assert!((3..=4).contains(&bench.records.len()), "{:?}", bench.records);
        drop((first, second));
        bench.end();
    }
}

#[test]
fn a_request_that_comes_in_the_turn_in_which_its_pod_leaves_opens_no_socket() {
    let mut bench = Bench::new();
    let (first, second) = bench.connect();
    let _caller = bench.call();
    bench.until("the request is there", |bench| {
        // Looks between the completions and what follows them.
        let server = Rc::clone(&bench.server);
        let shard = Rc::clone(&bench.shard);
        let found = shard.tables.borrow().relays.keys().into_iter().any(|key| {
            let tables = shard.tables.borrow();
            let relay = tables.relays.get(key).unwrap();
            relay.is_connecting() && Rc::ptr_eq(&relay.pod, &server)
        });
        if found {
            shard.remove_pod("server");
        }
        found
    });
    bench.turns(50);
    assert!(bench.accept_app().is_none(), "an application of a pod that left is called");
    drop((first, second));
    bench.end();
}

#[test]
fn a_connection_for_a_pod_that_has_left_is_not_served() {
    let mut bench = Bench::new();
    bench.shard.remove_pod("server");
    let (mut peer, socket) = App::connected();
    bench.serve("server", Port::Hbone, socket);
    bench.until("it is closed", |_| matches!(peer.read(1), Took::End | Took::Reset));
    bench.until("nothing is left", |bench| bench.is_empty());
    bench.end();
}

#[test]
fn whoever_waits_for_a_snapshot_that_never_comes_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let unknown = super::bench::pod("unknown");
    bench.shard.pods.borrow_mut().insert(Arc::clone(&unknown.uid), Rc::clone(&unknown));
    for _ in 0..50 {
        let (app, socket) = App::connected();
        bench.shard.serve(&unknown, Port::Hbone, socket);
        bench.turns(2);
        drop(app);
    }
    assert_eq!(bench.shard.waiting_for_snapshot.borrow().len(), 50);
    bench.shard.remove_pod("unknown");
    bench.until("nothing is left", |bench| bench.is_empty());
    bench.turns(3);
    assert_eq!(bench.shard.waiting_for_snapshot.borrow().len(), 0, "wakers of tasks that are gone");
    assert_eq!(Rc::strong_count(&unknown), 1);
    bench.end();
}

#[test]
fn a_drain_ends_with_the_last_connection_and_not_before() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    bench.shard.drain();
    bench.turns(50);
    let is_idle = |bench: &Bench| bench.shard.mailboxes[0].is_idle();
    assert!(!is_idle(&bench));
    caller.write_all(b"still here");
    bench.until("the bytes arrive", |_| called.read(100) == Took::Bytes(b"still here".to_vec()));
    caller.end();
    called.end();
    bench.until("the shard has drained", is_idle_of);
    assert!(bench.is_empty());
    assert_eq!(bench.records.len(), 2);
    assert!(bench.records.iter().all(|record| record.error.is_none()), "{:?}", bench.records);
    bench.end();
}

fn is_idle_of(bench: &mut Bench) -> bool {
    bench.shard.mailboxes[0].is_idle()
}

#[test]
fn a_drain_waits_for_what_is_being_set_up() {
    let mut bench = Bench::new();
    bench.door_is_shut = true;
    let (peer, socket) = App::connected();
    bench.serve("server", Port::Hbone, socket);
    bench.turns(3);
    bench.shard.drain();
    bench.turns(50);
    assert!(!is_idle_of(&mut bench), "a handshake is under way");
    drop(peer);
    bench.until("the shard has drained", is_idle_of);
    bench.end();
}

/// Listens for tunnels of the server, as the shard does itself: where.
fn listen(bench: &mut Bench) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    bench.shard.accept_at(&bench.server, Port::Hbone, listener.into());
    bench.turn();
    address
}

#[test]
fn a_drain_waits_for_who_was_connected_when_it_began() {
    let mut bench = Bench::new();
    let address = listen(&mut bench);
    let peer = TcpStream::connect(address).unwrap();
    bench.shard.drain();
    bench.turns(50);
    assert!(!is_idle_of(&mut bench), "a handshake is under way");
    drop(peer);
    bench.until("the shard has drained", is_idle_of);
    bench.end();
}

#[test]
fn a_socket_that_the_kernel_lets_nobody_use_is_told_of() {
    for (port, direction) in [(Port::Outbound, Direction::Outbound), (Port::Plain, Direction::Inbound)] {
        let mut bench = Bench::new();
        // It has no TCP options.
        let (socket, _peer) = UnixStream::pair().unwrap();
        bench.serve("server", port, socket.into());
        bench.until("it is told of", |bench| !bench.records.is_empty());
        let record = &bench.records[0];
        assert!(record.refused && record.connection.direction == direction, "{record:?}");
        assert_eq!(record.connection.destination.port(), port.number());
        let error = record.error.as_deref().unwrap();
        assert!(error.starts_with("the kernel does not let the accepted socket be used: "), "{error}");
        bench.end();
    }
}

/// As after a panic of the control thread, which forgot that it was about to add it.
#[test]
fn a_pod_that_is_added_again_leaves_nothing_of_before() {
    let mut bench = Bench::new();
    listen(&mut bench);
    let text = || Arc::<str>::from("server");
    let spec = PodSpec { uid: text(), name: text(), namespace: text(), service_account: text(), netns: None };
    bench.shard.add_pod(spec).unwrap();
    bench.until("the listener of before is closed", |bench| bench.is_empty());
    assert!(bench.server.is_gone());
    bench.end();
}

#[test]
fn a_drain_waits_for_what_a_neighbour_may_hand_over() {
    let mut bench = Bench::with(EngineConfig { shards: 2, ..config() });
    bench.shard.drain();
    bench.turns(50);
    assert!(!is_idle_of(&mut bench), "the neighbour does not drain yet");
    let (peer, socket) = App::connected();
    let [own, neighbour] = [0, 1].map(|id| Arc::clone(&bench.shard.mailboxes[id]));
    own.offer(Command::Adopt { pod: Arc::from("server"), port: Port::Hbone, socket }).unwrap();
    neighbour.set_draining();
    bench.turns(50);
    assert!(!is_idle_of(&mut bench), "a connection was handed over");
    drop(peer);
    bench.until("the shard has drained", is_idle_of);
    bench.end();
}

#[test]
fn a_shard_that_drains_hands_nothing_over() {
    let mut bench = Bench::with(EngineConfig { shards: 2, ..config() });
    let neighbour = Arc::clone(&bench.shard.mailboxes[1]);
    let place = |bench: &Bench| {
        let (app, socket) = App::connected();
        bench.shard.mailboxes[0].set_load(10);
        bench.shard.place(&bench.server, Port::Hbone, socket);
        app
    };
    let handed_over = place(&bench);
    assert!(matches!(neighbour.next(), Some(Command::Adopt { .. })));
    bench.shard.drain();
    let kept = place(&bench);
    assert!(neighbour.next().is_none());
    drop((handed_over, kept));
    neighbour.set_draining();
    bench.until("the shard has drained", is_idle_of);
    bench.end();
}

#[test]
fn a_drain_without_connections_is_over_at_once() {
    let mut bench = Bench::new();
    drop(bench.connect());
    bench.until("the connection is over", |bench| bench.records.len() == 2);
    assert_eq!(bench.tunnels(), 2);
    bench.shard.drain();
    bench.until("the shard has drained", is_idle_of);
    assert!(bench.is_empty());
    bench.end();
}

#[test]
fn a_shard_that_ends_cuts_everything_and_tells_of_it() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    bench.door_is_shut = true;
    let mut waiting = bench.call();
    bench.turns(20);
    bench.shard.end();
    let Bench { shard, .. } = bench;
    let reports = Arc::clone(&shard.reports);
    assert_eq!(Rc::strong_count(&shard), 1, "tasks of the shard hold the shard");
    drop(shard);
    for app in [&mut caller, &mut called, &mut waiting] {
        let seen = app.read(1);
        assert!(matches!(seen, Took::Reset | Took::End), "{seen:?}");
    }
    let mut records = 0;
    let next = || futures_lite::future::block_on(futures_lite::future::poll_once(reports.next_observation()));
    while let Some(observation) = next() {
        records += usize::from(matches!(observation, Observation::Closed(_)));
    }
    assert!(records >= 3, "{records} records");
}
