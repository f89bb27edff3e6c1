//! Bad input to every listener: the connection ends, the proxy stays up, nothing is leaked.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use testkit::authority::{Authority, Leaf, Validity};
use testkit::hostile::{frames, tls};
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions};
use testkit::netns::Netns;
use testkit::process::wait_until;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, pattern, transfer};
use testkit::wire::HBONE_PORT;

use crate::needs;

const PORT: u16 = 8080;
/// How often everything bad is sent.
const ROUNDS: usize = 30;
/// What a proxy may grow by over all rounds: less than one lost buffer a connection.
const GROWTH_KIB_MAX: u64 = 16 << 10;

struct Scene {
    mesh: Mesh,
    leaf: Leaf,
    client: Arc<Pod>,
    outsider: Arc<Pod>,
    server: Arc<Pod>,
    _exchange: Server,
}

impl Scene {
    fn new() -> Self {
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
        let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
        let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
        let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
        let mesh = crate::start(lab, MeshOptions::default());
        let authority = Authority::open(mesh.authority_directory()).unwrap();
        let leaf = authority.issue(&["spiffe://cluster.local/ns/default/sa/client"], Validity::Now).unwrap();
        let exchange = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
        Self { mesh, leaf, client, outsider, server, _exchange: exchange }
    }

    /// Everything bad, once.
    fn attack(&self) {
        let node = &self.mesh.lab.nodes()[1].netns;
        let server = &self.server;
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // Where from, where to. The captured ports are reached from inside, where nothing is redirected.
        let listeners: [(&Netns, IpAddr, u16); 6] = [
            (&self.outsider.netns, server.ipv4.into(), HBONE_PORT),
            (&server.netns, local, 15001),
            (&server.netns, local, 15006),
            (node, local, 15021),
            (node, local, 15020),
            (node, local, 15000),
        ];
        for (from, ip, port) in listeners {
            for bytes in
                [pattern::at(0, 64 << 10), &client_hello_then_garbage(), &frames::opening(), b"", b"\x16"]
            {
                send_raw(from, (ip, port).into(), bytes);
            }
        }
        for frames in bad_frames(&format!("{}:{PORT}", server.ipv4)) {
            self.send_in_tunnel(&frames);
        }
    }

    /// Sends bytes inside a tunnel that was rightly opened; the proxy has to end it.
    fn send_in_tunnel(&self, bytes: &[u8]) {
        let stream = connect(&self.outsider.netns, (self.server.ipv4, HBONE_PORT)).unwrap();
        let mut tls = tls::connect(stream, Some(&self.leaf)).unwrap();
        // It may end before it has read all of it.
        let _ = tls.write_all(bytes).and_then(|()| tls.flush());
        let mut said = Vec::new();
        let end = tls.read_to_end(&mut said);
        let is_end =
            end.as_ref().map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true);
        assert!(
            is_end,
            "not ended: {end:?} after {} bytes {:?}…",
            bytes.len(),
            &bytes[..bytes.len().min(60)]
        );
    }
}

/// Sends bytes and the end of them; waits until the listener's end has come, whatever it answered.
fn send_raw(from: &Netns, to: SocketAddr, bytes: &[u8]) {
    // The admin ports may be closed.
    let Ok(mut stream) = connect(from, to) else { return };
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let end = stream.read_to_end(&mut Vec::new());
    let is_end = end.as_ref().map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true);
    assert!(is_end, "{to} kept the connection open after {} bad bytes", bytes.len());
}

/// A record that announces a handshake, then what is none.
fn client_hello_then_garbage() -> Vec<u8> {
    [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], pattern::at(0, 600)].concat()
}

/// HTTP/2 that no server has to bear, each after a right opening unless it lacks one.
fn bad_frames(authority: &str) -> Vec<Vec<u8>> {
    use frames::{DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, opening};
    let after_opening = |bytes: &[u8]| [&opening(), bytes].concat();
    let long = "x".repeat(1 << 20);
    let many: Vec<(&str, &str)> = vec![("name", "a value of some length"); 10_000];
    vec![
        pattern::at(0, 4096).to_vec(),
        [PREFACE, pattern::at(0, 4096)].concat(),
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        // RFC 9113 §4.2: longer than the largest frame that was announced.
        after_opening(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
        // §6.5: SETTINGS of five bytes; §6.7: PING of seven; §6.9: no increment.
        after_opening(&frame(SETTINGS, 0, 0, &[0; 5])),
        after_opening(&frame(6, 0, 0, &[0; 7])),
        after_opening(&frame(8, 0, 0, &[0; 4])),
        // §5.1: DATA on a stream that was never opened; §5.1.1: a stream of ours.
        after_opening(&frame(DATA, 0, 1, b"early")),
        after_opening(&frame(HEADERS, END_HEADERS, 2, &frames::block(&[(":method", "CONNECT")]))),
        // §6.10: a field block that is not continued.
        after_opening(&[frame(HEADERS, 0, 1, &[0]), frame(DATA, 0, 1, b"x")].concat()),
        // §6.6: a client's PUSH_PROMISE.
        after_opening(&frame(5, END_HEADERS, 1, &[0; 8])),
        // RFC 7541 §2.3.3: an index that is not there.
        after_opening(&frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f])),
        // Fields beyond every limit: one, and many.
        after_opening(&oversized(authority, &[("x-long", &long)])),
        after_opening(&oversized(authority, &many)),
    ]
}

/// A request whose field block goes on and on: HEADERS and CONTINUATIONs of 16 KiB.
fn oversized(authority: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    const CONTINUATION: u8 = 9;
    let all = [&[(":method", "CONNECT"), (":authority", authority)], fields].concat();
    let block = frames::block(&all);
    let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
    let mut bytes = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let kind = if at == 0 { frames::HEADERS } else { CONTINUATION };
        let flags = if at + 1 == pieces.len() { frames::END_HEADERS } else { 0 };
        bytes.extend(frames::frame(kind, flags, 1, piece));
    }
    bytes
}

#[test]
fn bad_input_ends_its_connection_and_nothing_else() {
    needs!(Ringway);
    let mut scene = Scene::new();
    let neighbour = connect(&scene.client.netns, (scene.server.ipv4, PORT)).unwrap();
    // Once before counting: whatever is made on first use is made now.
    scene.attack();
    let (fds, memory) = (settled_fds(&mut scene.mesh), scene.mesh.process(1).resident_kib().unwrap());
    for _ in 0..ROUNDS {
        scene.attack();
    }
    scene.mesh.expect_running().unwrap();
    let closed = wait_until("as many descriptors as before", Duration::from_secs(30), || {
        Ok((scene.mesh.process(1).open_fds()? <= fds).then_some(()))
    });
    closed
        .unwrap_or_else(|error| panic!("{error}: {fds} before, {:?} now", scene.mesh.process(1).open_fds()));
    let growth = scene.mesh.process(1).resident_kib().unwrap().saturating_sub(memory);
    println!("{ROUNDS} rounds: {fds} descriptors, {memory} KiB and {growth} KiB more");
    assert!(growth < GROWTH_KIB_MAX, "it grew by {growth} KiB");
    // Who was there before was not disturbed, and who comes now is served.
    transfer::exchange(&neighbour, 1 << 20).unwrap();
    let fresh = connect(&scene.client.netns, (scene.server.ipv4, PORT)).unwrap();
    transfer::exchange(&fresh, 1 << 20).unwrap();
}

/// The number of descriptors once the connections that were just ended are closed: the same at ten looks in a row.
fn settled_fds(mesh: &mut Mesh) -> usize {
    let (mut last, mut equal) = (0, 0);
    let settled = wait_until("the descriptors to settle", Duration::from_secs(30), || {
        let now = mesh.process(1).open_fds()?;
        equal = if now == last { equal + 1 } else { 0 };
        last = now;
        Ok((equal == 10).then_some(now))
    });
    settled.unwrap()
}
