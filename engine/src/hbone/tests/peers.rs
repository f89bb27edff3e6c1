//! Two applications at the ends of a tunnel, and the pumps that move the bytes between: in memory, cut at random, and
//! handed over at random.
//!
//! What a stream is for is the host of its authority, see [`Purpose`].

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::*;
use super::random::Random;
use super::rig::handed_over;

/// What the server does with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends everything back, and ends when the client has ended.
    Echo,
    /// Answers 503 and ends.
    Refuse,
    /// Sends something back, then resets with CONNECT_ERROR.
    Cut,
    /// Says hello and ends its half first; keeps what the client sends.
    Greet,
    /// As echo, but the client gives up in the middle.
    Abandon,
}

pub(super) const HELLO: &[u8] = b"hello";

/// The client's end: tunnels to open, and what came of them.
pub(super) struct Client {
    pub(super) tunnels: Vec<Tunnel>,
    /// Tunnels that are to be opened, the next one last.
    waiting: Vec<usize>,
    random: Random,
}

/// A tunnel of the client.
pub(super) struct Tunnel {
    pub(super) purpose: Purpose,
    pub(super) content: Vec<u8>,
    pub(super) stream: Option<StreamId>,
    sent: usize,
    ended: bool,
    unreleased: usize,
    pub(super) status: Option<u16>,
    pub(super) received: Vec<u8>,
    pub(super) finished: Option<Finish>,
}

/// How a tunnel ended, seen by its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    End,
    Reset(ErrorCode),
}

/// The server's end.
pub(super) struct Server {
    streams: Vec<Served>,
    /// What greeted clients sent, whole streams only.
    pub(super) kept: Vec<Vec<u8>>,
    random: Random,
}

struct Served {
    stream: StreamId,
    purpose: Purpose,
    /// Received and not sent back.
    queue: Vec<u8>,
    unreleased: usize,
    remote_ended: bool,
    is_over: bool,
}

/// What runs on our end of a tunnel.
pub(super) trait Application {
    fn event(&mut self, event: Event<'_>, session: &mut Session, out: &mut Vec<u8>);
    /// Does some of what can be done without input. False: there is nothing left of it.
    fn turn(&mut self, session: &mut Session, out: &mut Vec<u8>) -> bool;
}

// === impl Purpose ===

impl Purpose {
    pub(super) fn random(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Refuse,
            1 => Self::Cut,
            2 => Self::Greet,
            3 => Self::Abandon,
            _ => Self::Echo,
        }
    }

    pub(super) fn authority(self) -> &'static str {
        match self {
            Self::Echo => "echo:80",
            Self::Refuse => "refuse:80",
            Self::Cut => "cut:80",
            Self::Greet => "greet:80",
            Self::Abandon => "abandon:80",
        }
    }

    pub(super) fn of(authority: &str) -> Self {
        let all = [Self::Echo, Self::Refuse, Self::Cut, Self::Greet, Self::Abandon];
        all.into_iter().find(|purpose| purpose.authority() == authority).unwrap()
    }
}

// === impl Client ===

impl Client {
    pub(super) fn new(count: usize, bytes_max: usize, random: &mut Random) -> Self {
        let tunnels = (0..count).map(|_| Tunnel::random(bytes_max, random)).collect();
        Self { tunnels, waiting: (0..count).rev().collect(), random: Random::new(random.next()) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.tunnels.iter().all(Tunnel::is_done)
    }

    /// Every tunnel ended as its purpose demands, and no byte is lost, doubled or in the wrong place.
    pub(super) fn check(&self, kept: &[Vec<u8>]) {
        for tunnel in &self.tunnels {
            tunnel.check();
        }
        let mut sent: Vec<&[u8]> = self.of(Purpose::Greet).map(|tunnel| &tunnel.content[..]).collect();
        let mut kept: Vec<&[u8]> = kept.iter().map(|bytes| &bytes[..]).collect();
        sent.sort_unstable();
        kept.sort_unstable();
        assert!(sent == kept, "what greeted clients sent");
    }

    fn of(&self, purpose: Purpose) -> impl Iterator<Item = &Tunnel> {
        self.tunnels.iter().filter(move |tunnel| tunnel.purpose == purpose)
    }

    fn at(&mut self, slot: u32, stream: StreamId) -> &mut Tunnel {
        let tunnel = &mut self.tunnels[slot as usize];
        assert_eq!(tunnel.stream, Some(stream), "the slot is the stream's");
        tunnel
    }

    fn open(&mut self, session: &mut Session, out: &mut Vec<u8>) {
        let Some(index) = self.waiting.last().copied() else { return };
        let tunnel = &mut self.tunnels[index];
        let headers = [("baggage", "k8s.cluster.name=one"), ("traceparent", "00-1-2-00")];
        let Some(stream) = session.connect(tunnel.purpose.authority(), &headers, out) else { return };
        session.set_slot(stream, index as u32);
        tunnel.stream = Some(stream);
        self.waiting.pop();
    }
}

impl Application for Client {
    fn event(&mut self, event: Event<'_>, _: &mut Session, _: &mut Vec<u8>) {
        match event {
            Event::Response { stream, slot, status, end, .. } => self.at(slot, stream).answered(status, end),
            Event::Data { stream, slot, bytes } => {
                let tunnel = self.at(slot, stream);
                tunnel.received.extend_from_slice(bytes);
                tunnel.unreleased += bytes.len();
            }
            Event::End { stream, slot } => self.at(slot, stream).finished = Some(Finish::End),
            // Opened before the server's SETTINGS told its limit.
            Event::Reset { stream, slot, refused: true, .. } => {
                assert_eq!(self.at(slot, stream).status, None);
                self.at(slot, stream).stream = None;
                self.waiting.push(slot as usize);
            }
            Event::Reset { stream, slot, code, .. } => {
                let tunnel = self.at(slot, stream);
                // A server that has said all asks with NO_ERROR for the rest not to be sent (RFC 9113 §8.1).
                tunnel.finished.get_or_insert(Finish::Reset(code));
                tunnel.ended = true;
            }
            Event::Window { .. } | Event::Settings | Event::Pong { .. } => {}
            Event::Request { .. } | Event::GoAway { .. } => panic!("{event:?}"),
        }
    }

    fn turn(&mut self, session: &mut Session, out: &mut Vec<u8>) -> bool {
        if self.random.one_in(3) {
            self.open(session, out);
        }
        for tunnel in &mut self.tunnels {
            tunnel.turn(session, &mut self.random, out);
        }
        self.tunnels.iter().any(|tunnel| tunnel.has_more(session)) || !self.waiting.is_empty()
    }
}

// === impl Tunnel ===

impl Tunnel {
    fn random(bytes_max: usize, random: &mut Random) -> Self {
        let length = random.length(bytes_max);
        Self {
            purpose: Purpose::random(random),
            content: random.bytes(length),
            stream: None,
            sent: 0,
            ended: false,
            unreleased: 0,
            status: None,
            received: Vec::new(),
            finished: None,
        }
    }

    fn answered(&mut self, status: u16, end: bool) {
        assert_eq!(self.status, None);
        self.status = Some(status);
        if end {
            self.finished = Some(Finish::End);
        }
    }

    /// Finished both ways.
    fn is_done(&self) -> bool {
        self.finished.is_some() && (self.ended || matches!(self.finished, Some(Finish::Reset(_))))
    }

    fn has_more(&self, session: &Session) -> bool {
        let Some(stream) = self.stream.filter(|_| !self.is_done()) else { return false };
        let can_send =
            self.status == Some(200) && self.sent < self.content.len() && session.sendable(stream) > 0;
        let can_end = self.status.is_some() && !self.ended && self.sent == self.content.len();
        can_send || can_end || self.unreleased > 0
    }

    fn turn(&mut self, session: &mut Session, random: &mut Random, out: &mut Vec<u8>) {
        let Some(stream) = self.stream.filter(|_| !matches!(self.finished, Some(Finish::Reset(_)))) else {
            return;
        };
        if self.unreleased > 0 && random.one_in(2) {
            let some = 1 + random.below(self.unreleased);
            session.release(stream, some, out);
            self.unreleased -= some;
        }
        if self.status.is_none() || self.ended || random.one_in(3) {
            return;
        }
        if self.status != Some(200) {
            // A refusal: what we would have sent is of no use.
            self.ended = true;
            session.reset(stream, ErrorCode::CANCEL, out);
            return;
        }
        let left = &self.content[self.sent..];
        let some = &left[..left.len().min(random.length(100_000))];
        let taken = session.send(stream, some, out);
        assert!(taken <= some.len());
        self.sent += taken;
        if self.purpose == Purpose::Abandon && self.sent > self.content.len() / 2 {
            self.ended = true;
            self.finished = Some(Finish::Reset(ErrorCode::CANCEL));
            session.reset(stream, ErrorCode::CANCEL, out);
        } else if self.sent == self.content.len() {
            self.ended = true;
            session.end(stream, out);
        }
    }

    fn check(&self) {
        let (status, finish) = match self.purpose {
            Purpose::Refuse => (503, Finish::End),
            Purpose::Cut => (200, Finish::Reset(ErrorCode::CONNECT_ERROR)),
            Purpose::Abandon => (200, Finish::Reset(ErrorCode::CANCEL)),
            Purpose::Echo | Purpose::Greet => (200, Finish::End),
        };
        assert_eq!((self.status, self.finished), (Some(status), Some(finish)), "{:?}", self.purpose);
        match self.purpose {
            Purpose::Echo => assert!(self.received == self.content, "an echo differs"),
            Purpose::Greet => assert_eq!(self.received, HELLO),
            _ => assert!(self.content.starts_with(&self.received), "an echo differs"),
        }
    }
}

// === impl Server ===

impl Server {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { streams: Vec::new(), kept: Vec::new(), random: Random::new(random.next()) }
    }

    fn request(&mut self, stream: StreamId, request: &Request, session: &mut Session, out: &mut Vec<u8>) {
        assert_eq!(request.method, "CONNECT");
        assert_eq!(request.baggage.as_deref(), Some("k8s.cluster.name=one"));
        let purpose = Purpose::of(&request.authority);
        session.set_slot(stream, self.streams.len() as u32);
        self.streams.push(Served {
            stream,
            purpose,
            queue: Vec::new(),
            unreleased: 0,
            remote_ended: false,
            is_over: purpose == Purpose::Refuse,
        });
        if purpose == Purpose::Refuse {
            session.respond(stream, 503, &[], true, out);
            return;
        }
        session.respond(stream, 200, &[("baggage", "k8s.namespace.name=shop")], false, out);
        if purpose == Purpose::Greet {
            // The windows of these tests are never smaller than this when a stream begins.
            assert_eq!(session.send(stream, HELLO, out), HELLO.len());
            session.end(stream, out);
        }
    }
}

impl Application for Server {
    fn event(&mut self, event: Event<'_>, session: &mut Session, out: &mut Vec<u8>) {
        match event {
            Event::Request { stream, request, end } => {
                assert!(!end);
                self.request(stream, &request, session, out);
            }
            Event::Data { stream, slot, bytes } => {
                let served = &mut self.streams[slot as usize];
                assert_eq!(served.stream, stream);
                assert!(!served.remote_ended);
                served.queue.extend_from_slice(bytes);
                served.unreleased += bytes.len();
            }
            Event::End { slot, .. } => {
                let served = &mut self.streams[slot as usize];
                served.remote_ended = true;
                if served.purpose == Purpose::Greet {
                    self.kept.push(std::mem::take(&mut served.queue));
                }
            }
            Event::Reset { slot, by_peer, .. } => {
                assert!(by_peer);
                self.streams[slot as usize].is_over = true;
            }
            Event::Window { .. } | Event::Settings | Event::Pong { .. } | Event::GoAway { .. } => {}
            Event::Response { .. } => panic!("{event:?}"),
        }
    }

    fn turn(&mut self, session: &mut Session, out: &mut Vec<u8>) -> bool {
        let random = &mut self.random;
        let mut has_more = false;
        for served in self.streams.iter_mut().filter(|served| !served.is_over) {
            if random.one_in(2) {
                served.turn(session, random, out);
            }
            has_more |= served.has_more(session);
        }
        has_more
    }
}

impl Served {
    fn has_more(&self, session: &Session) -> bool {
        let can_send = !self.queue.is_empty() && session.sendable(self.stream) > 0;
        let can_end = self.queue.is_empty() && self.remote_ended;
        !self.is_over && (self.unreleased > 0 || can_send || can_end)
    }

    fn turn(&mut self, session: &mut Session, random: &mut Random, out: &mut Vec<u8>) {
        if self.unreleased > 0 {
            let some = 1 + random.below(self.unreleased);
            session.release(self.stream, some, out);
            self.unreleased -= some;
        }
        if self.purpose == Purpose::Greet {
            self.is_over = self.remote_ended;
            return;
        }
        let some = self.queue.len().min(random.length(70_000));
        let taken = session.send(self.stream, &self.queue[..some], out);
        self.queue.drain(..taken);
        if self.purpose == Purpose::Cut && (taken > 0 || self.remote_ended) {
            self.is_over = true;
            session.reset(self.stream, ErrorCode::CONNECT_ERROR, out);
        } else if self.remote_ended && self.queue.is_empty() {
            self.is_over = true;
            session.end(self.stream, out);
        }
    }
}

// === pumps ===

/// Hands a piece of input to a session, sometimes in the hands of another process.
pub(super) fn receive(
    session: &mut Session,
    application: &mut impl Application,
    mut piece: &[u8],
    random: &mut Random,
    out: &mut Vec<u8>,
) {
    loop {
        if random.one_in(20) {
            *session = handed_over(session);
        }
        match session.next(&mut piece, out) {
            Ok(Some(event)) => application.event(event, session, out),
            Ok(None) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(piece.is_empty());
    session.check_connection_credit();
}

/// Runs our end over `io` until the other end closes it, or `is_done`.
pub(super) async fn run<A: Application>(
    mut session: Session,
    mut out: Vec<u8>,
    application: &mut A,
    io: DuplexStream,
    mut random: Random,
    is_done: impl Fn(&A, &Session) -> bool,
) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut buffer = vec![0; 1 << 16];
    let mut has_more = false;
    while !out.is_empty() || !is_done(application, &session) {
        let room = random.length(buffer.len());
        // In a fixed order, so that a seed gives the same schedule each time.
        tokio::select! {
            biased;
            written = writer.write(&out), if !out.is_empty() => match written {
                Ok(length) => drop(out.drain(..length)),
                Err(_) => return,
            },
            read = reader.read(&mut buffer[..room]) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => receive(&mut session, application, &buffer[..length], &mut random, &mut out),
            },
            () = tokio::task::yield_now(), if has_more => {}
        }
        has_more = out.len() < 1 << 20 && application.turn(&mut session, &mut out);
    }
}
