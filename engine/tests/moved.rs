//! A tunnel moves to another process in the middle of its traffic: written down, read back there, no byte lost.
//!
//! The client's end stays here and is written down and read back again and again; the server's end begins here and
//! goes to a second process (this test again, told by its environment where to call), which carries on as if nothing
//! had happened.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;

use engine::handover::{Reader, Writer};
use engine::hbone::{Event, Session, Settings, Sink, StreamId};
use engine::mesh::{Identity, TrustDomain};
use engine::tls::{
    Credentials, Established, Handshake, Opened, Progress, RecordOpener, RecordSealer, Suites, TrustBundle,
};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::PrivateKeyDer;

/// Tells the second process where to call: an abstract name, which is gone with the process that has it.
const SOCKET: &str = "RINGWAY_MOVED_SOCKET";
const STREAMS: usize = 3;
const BYTES_PER_STREAM: usize = 2 << 20;
/// The server's end moves when so many bytes have come back.
const MOVE_AFTER_BYTES: usize = 1 << 20;

/// One end of a tunnel: records, session, and what is on its way in and out.
struct End {
    session: Session,
    sealer: RecordSealer,
    opener: RecordOpener,
    out: Vec<u8>,
    partial: Vec<u8>,
    /// What an echo could not send yet, by stream.
    backlog: HashMap<u32, (StreamId, Vec<u8>, bool)>,
}

struct Seal<'a>(&'a mut RecordSealer, &'a mut Vec<u8>);

impl Sink for Seal<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.put(self.1, bytes);
    }
}

impl End {
    fn new(established: Established, client: bool) -> Self {
        let Established { mut sealer, opener, leftover, .. } = established;
        let mut out = Vec::new();
        let seal = &mut Seal(&mut sealer, &mut out);
        let session = if client {
            Session::client(&Settings::client(), seal)
        } else {
            Session::server(&Settings::server(), seal)
        };
        Self { session, sealer, opener, out, partial: leftover, backlog: HashMap::new() }
    }

    /// Takes bytes of the peer and tells each event, with a session that can be answered with.
    fn receive(&mut self, bytes: &[u8], mut on: impl FnMut(&mut Session, &mut Seal<'_>, Event<'_>)) {
        self.partial.extend_from_slice(bytes);
        let mut received = std::mem::take(&mut self.partial);
        let mut at = 0;
        while let Some(length) = RecordOpener::record_len(&received[at..]).unwrap() {
            if received.len() - at < length {
                break;
            }
            match self.opener.open(&mut received[at..at + length]).unwrap() {
                Opened::Data(mut plain) => {
                    let mut seal = Seal(&mut self.sealer, &mut self.out);
                    while let Some(event) = self.session.next(&mut plain, &mut seal).unwrap() {
                        on(&mut self.session, &mut seal, event);
                    }
                }
                Opened::KeyUpdate { answer: true } => self.sealer.key_update(&mut self.out, false),
                Opened::KeyUpdate { answer: false } | Opened::Nothing => {}
                Opened::Closed => panic!("nobody closes this tunnel"),
            }
            at += length;
        }
        self.partial = received.split_off(at);
    }

    /// A server that sends everything back.
    fn echo(&mut self, bytes: &[u8]) {
        let mut backlog = std::mem::take(&mut self.backlog);
        self.receive(bytes, |session, seal, event| match event {
            Event::Request { stream, .. } => {
                session.set_slot(stream, backlog.len() as u32);
                session.respond(stream, 200, &[], false, seal);
                backlog.insert(backlog.len() as u32, (stream, Vec::new(), false));
            }
            Event::Data { stream, slot, bytes } => {
                backlog.get_mut(&slot).unwrap().1.extend_from_slice(bytes);
                session.release(stream, bytes.len(), seal);
            }
            Event::End { slot, .. } => backlog.get_mut(&slot).unwrap().2 = true,
            _ => {}
        });
        let mut seal = Seal(&mut self.sealer, &mut self.out);
        for (stream, waiting, ended) in backlog.values_mut() {
            let sent = self.session.send(*stream, waiting, &mut seal);
            waiting.drain(..sent);
            if *ended && waiting.is_empty() {
                self.session.end(*stream, &mut seal);
                *ended = false;
            }
        }
        self.backlog = backlog;
    }

    fn take_out(&mut self) -> Vec<u8> {
        self.sealer.flush(&mut self.out);
        std::mem::take(&mut self.out)
    }

    fn written_down(mut self) -> Vec<u8> {
        self.sealer.flush(&mut self.out);
        let mut w = Writer::default();
        self.session.write_down(&mut w);
        self.sealer.write_down(&mut w);
        self.opener.write_down(&mut w);
        w.bytes(&self.out);
        w.bytes(&self.partial);
        w.u32(self.backlog.len() as u32);
        for (slot, (stream, waiting, ended)) in &self.backlog {
            w.u32(*slot);
            w.u32(stream.value());
            w.bytes(waiting);
            w.bool(*ended);
        }
        w.finish().to_vec()
    }

    fn read_back(bytes: &[u8]) -> Self {
        let mut r = Reader::new(bytes);
        let session = Session::read_back(&mut r).unwrap();
        let sealer = RecordSealer::read_back(&mut r).unwrap();
        let opener = RecordOpener::read_back(&mut r).unwrap();
        let (out, partial) = (r.bytes().unwrap().to_vec(), r.bytes().unwrap().to_vec());
        let mut backlog = HashMap::new();
        for _ in 0..r.u32().unwrap() {
            let (slot, stream) = (r.u32().unwrap(), StreamId::from_bits(r.u32().unwrap()));
            backlog.insert(slot, (stream, r.bytes().unwrap().to_vec(), r.bool().unwrap()));
        }
        r.finish().unwrap();
        Self { session, sealer, opener, out, partial, backlog }
    }
}

/// Where the server's end is.
enum Server {
    Here(Box<End>),
    Moved(UnixStream),
}

impl Server {
    fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Here(end) => {
                end.echo(bytes);
                end.take_out()
            }
            Self::Moved(socket) => {
                put(socket, bytes);
                take(socket).unwrap()
            }
        }
    }
}

#[test]
fn a_tunnel_moves_to_another_process_and_loses_no_byte() {
    if let Ok(name) = std::env::var(SOCKET) {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        return second_process(&mut UnixStream::connect_addr(&address).unwrap());
    }
    let (client, server) = handshake();
    let mut client = End::new(client, true);
    let mut server = Server::Here(Box::new(End::new(server, false)));
    let mut sent = [0; STREAMS];
    let mut came_back = [0; STREAMS];
    let mut ended = 0;
    let mut moves = 0;
    let mut turn = 0_usize;
    let streams: Vec<StreamId> = (0..STREAMS)
        .map(|slot| {
            let mut seal = Seal(&mut client.sealer, &mut client.out);
            let stream = client.session.connect("10.0.0.1:80", &[], &mut seal).unwrap();
            client.session.set_slot(stream, slot as u32);
            stream
        })
        .collect();
    while ended < STREAMS {
        turn += 1;
        for (slot, stream) in streams.iter().enumerate() {
            let mut seal = Seal(&mut client.sealer, &mut client.out);
            let left = BYTES_PER_STREAM - sent[slot];
            // Odd sizes, so that records, frames and pieces never line up.
            let piece: Vec<u8> =
                (0..left.min(1 + turn * 7919 % 40_000)).map(|at| pattern(slot, sent[slot] + at)).collect();
            sent[slot] += client.session.send(*stream, &piece, &mut seal);
            if left > 0 && sent[slot] == BYTES_PER_STREAM {
                client.session.end(*stream, &mut seal);
            }
        }
        let answer = server.exchange(&client.take_out());
        client.receive(&answer, |session, seal, event| match event {
            Event::Data { stream, slot, bytes } => {
                let slot = slot as usize;
                let expected = (0..bytes.len()).map(|at| pattern(slot, came_back[slot] + at));
                assert!(
                    expected.eq(bytes.iter().copied()),
                    "stream {slot} differs after {}",
                    came_back[slot]
                );
                came_back[slot] += bytes.len();
                session.release(stream, bytes.len(), seal);
            }
            Event::End { .. } => ended += 1,
            Event::Reset { code, .. } => panic!("a stream was reset: {code}"),
            _ => {}
        });
        client = End::read_back(&client.written_down());
        if came_back[0] > MOVE_AFTER_BYTES
            && let Server::Here(_) = &server
        {
            let Server::Here(end) = server else { unreachable!() };
            server = Server::Moved(move_away(*end));
            moves += 1;
        }
        assert!(turn < 10_000, "the tunnel stands: {came_back:?} of {BYTES_PER_STREAM} came back");
    }
    assert_eq!((came_back, moves), ([BYTES_PER_STREAM; STREAMS], 1));
}

/// Starts the second process and gives it the server's end.
fn move_away(end: End) -> UnixStream {
    let name = format!("ringway-moved-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_tunnel_moves_to_another_process_and_loses_no_byte"])
        .env(SOCKET, name)
        .spawn()
        .unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    // It ends when the socket closes; somebody has to take note.
    std::thread::spawn(move || child.wait());
    put(&mut socket, &end.written_down());
    socket
}

fn second_process(socket: &mut UnixStream) {
    let mut end = End::read_back(&take(socket).unwrap());
    while let Some(bytes) = take(socket) {
        end.echo(&bytes);
        put(socket, &end.take_out());
    }
}

fn put(socket: &mut UnixStream, bytes: &[u8]) {
    socket.write_all(&(bytes.len() as u32).to_le_bytes()).unwrap();
    socket.write_all(bytes).unwrap();
}

fn take(socket: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut bytes).unwrap();
    Some(bytes)
}

fn pattern(stream: usize, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ (stream * 77)) as u8
}

/// A handshake in memory, both ends by rustls.
fn handshake() -> (Established, Established) {
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&key).unwrap();
    let domain = TrustDomain::new("cluster.local");
    let mut bundle = TrustBundle::default();
    bundle.insert(domain.clone(), vec![certificate.der().clone()]).unwrap();
    let issuer = Issuer::new(root, key);
    let credentials = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        let identity = Identity::new(&domain, "default", name).to_string();
        leaf.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Credentials::new(vec![certificate.der().clone()], key, &bundle, Suites::default()).unwrap()
    };
    let mut client = Handshake::client(&credentials("client")).unwrap();
    let mut server = Handshake::server(&credentials("server")).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let (mut near, mut far) = (None, None);
    while near.is_none() || far.is_none() {
        let bytes = std::mem::take(&mut to_client);
        if near.is_none()
            && let Progress::Done(done) = client.advance(&bytes, &mut to_server).unwrap()
        {
            near = Some(*done);
        }
        let bytes = std::mem::take(&mut to_server);
        if far.is_none()
            && let Progress::Done(done) = server.advance(&bytes, &mut to_client).unwrap()
        {
            far = Some(*done);
        }
    }
    (near.unwrap(), far.unwrap())
}
