//! A tunnel between our session and h2's, in memory: the input decides who is the client, how long the messages are, how
//! the bytes are cut, when our end is handed over, and whether one byte on the way is damaged.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use engine::handover::{Reader, Writer};
use engine::hbone::limits::DATA_RUNT_BYTES;
use engine::hbone::{ErrorCode, Event, Session, Settings, StreamId};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::choices::Choices;

/// Bytes of one message at most, so that an input runs for milliseconds.
const MESSAGE_BYTES_MAX: usize = 40_000;

const STREAMS_MAX: usize = 4;

pub fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let kind = choices.byte();
    let settings = Settings {
        stream_window: choices.length() as u32,
        credit_batch: choices.length() as u32,
        ..Settings::server()
    };
    let window = choices.length() as u32;
    let capacity = choices.length();
    let messages: Vec<Bytes> = (0..1 + usize::from(choices.byte()) % STREAMS_MAX)
        .map(|_| message(choices.length(), &settings, window))
        .collect();
    let damage =
        (kind & 2 != 0).then(|| (choices.length() + usize::from(choices.byte()), choices.byte() | 1));

    let (ours, theirs) = tokio::io::duplex(capacity);
    // The clock stands, and jumps when nobody has anything to do: the timeout is for conversations that stand still.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let conversation = async {
        let mut out = Vec::new();
        let is_server = kind & 1 == 0;
        let session = if is_server {
            Session::server(&settings, &mut out)
        } else {
            Session::client(&settings, &mut out)
        };
        let messages_sent = messages.clone();
        let end = End { session, out, tunnels: Vec::new(), messages, choices, damage, received: 0 };
        let is_good = if is_server {
            let peer = tokio::task::spawn_local(client(theirs, window, messages_sent));
            end.run(ours).await;
            peer.await
        } else {
            let peer = tokio::task::spawn_local(server(theirs, window));
            let is_good = end.run(ours).await;
            let peer = peer.await;
            assert!(is_good || damage.is_some(), "a message came back different");
            peer
        };
        assert!(is_good.expect("h2 does not panic") || damage.is_some(), "h2 has seen an error");
    };
    let ended = tokio::task::LocalSet::new()
        .block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(1), conversation).await });
    // A damaged byte may well leave both ends waiting.
    assert!(ended.is_ok() || damage.is_some(), "the conversation stands still");
}

/// As long as it says, but not so long that tiny windows take for ever.
fn message(length: usize, settings: &Settings, window: u32) -> Bytes {
    let smallest = settings.stream_window.min(window) as usize;
    let length = length.min(MESSAGE_BYTES_MAX).min(50 * smallest);
    (0..length).map(|index| (index % 251) as u8).collect()
}

// === our end ===

struct End<'a> {
    session: Session,
    out: Vec<u8>,
    tunnels: Vec<Tunnel>,
    /// What we send as a client. A server sends back what it gets.
    messages: Vec<Bytes>,
    choices: Choices<'a>,
    /// The place of a received byte, and what is xored to it.
    damage: Option<(usize, u8)>,
    received: usize,
}

struct Tunnel {
    stream: StreamId,
    /// To be sent.
    queue: Vec<u8>,
    /// Nothing will be added to it.
    is_whole: bool,
    ended: bool,
    received: Vec<u8>,
    expected: Option<Bytes>,
    finished: bool,
}

impl End<'_> {
    /// Runs to the end of the connection; true if every message came back.
    async fn run(mut self, io: DuplexStream) -> bool {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.turn();
            if self.out.is_empty() && self.is_done() {
                break;
            }
            let room = self.choices.length().min(buffer.len());
            tokio::select! {
                biased;
                written = writer.write(&self.out), if !self.out.is_empty() => match written {
                    Ok(length) => drop(self.out.drain(..length)),
                    Err(_) => break,
                },
                read = reader.read(&mut buffer[..room]) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(length) => {
                        if !self.receive(&mut buffer[..length]) {
                            // What is left of the GOAWAY, then the end, as a caller does.
                            let _ = writer.write_all(&self.out).await;
                            break;
                        }
                    }
                },
            }
        }
        self.tunnels.iter().all(|tunnel| {
            tunnel.finished && tunnel.expected.as_ref().is_none_or(|expected| tunnel.received == *expected)
        })
    }

    fn is_done(&self) -> bool {
        let is_client = !self.messages.is_empty() && !self.tunnels.is_empty();
        is_client
            && self.tunnels.len() == self.messages.len()
            && self.tunnels.iter().all(|tunnel| tunnel.expected.is_some() && tunnel.finished && tunnel.ended)
    }

    /// False: the session is over.
    fn receive(&mut self, piece: &mut [u8]) -> bool {
        if let Some((place, bits)) = self.damage
            && let Some(octet) = place.checked_sub(self.received).and_then(|place| piece.get_mut(place))
        {
            *octet ^= bits;
        }
        self.received += piece.len();
        let mut rest = &*piece;
        loop {
            if self.choices.byte() & 7 == 1 {
                self.hand_over();
            }
            match self.session.next(&mut rest, &mut self.out) {
                Ok(Some(event)) => {
                    on_event(event, &mut self.session, &mut self.tunnels, &self.messages, &mut self.out)
                }
                Ok(None) => return true,
                Err(_) => {
                    assert!(self.damage.is_some(), "h2 is right");
                    return false;
                }
            }
        }
    }

    fn turn(&mut self) {
        for tunnel in self.tunnels.iter_mut().filter(|tunnel| !tunnel.ended) {
            // h2 takes a hundred smaller frames that it has not read yet for a flood.
            let some = tunnel.queue.len().min(DATA_RUNT_BYTES.max(self.choices.length()));
            let taken = self.session.send(tunnel.stream, &tunnel.queue[..some], &mut self.out);
            tunnel.queue.drain(..taken);
            if tunnel.is_whole && tunnel.queue.is_empty() {
                tunnel.ended = true;
                self.session.end(tunnel.stream, &mut self.out);
            }
        }
    }

    fn hand_over(&mut self) {
        let mut w = Writer::default();
        self.session.write_down(&mut w);
        let written = w.finish();
        self.session = Session::read_back(&mut Reader::new(&written)).expect("what was written is read");
    }
}

fn on_event(
    event: Event<'_>,
    session: &mut Session,
    tunnels: &mut Vec<Tunnel>,
    messages: &[Bytes],
    out: &mut Vec<u8>,
) {
    let mut open = |stream: StreamId, session: &mut Session, expected: Option<Bytes>| {
        session.set_slot(stream, tunnels.len() as u32);
        let queue = expected.as_ref().map(|message| message.to_vec()).unwrap_or_default();
        let is_whole = expected.is_some();
        tunnels.push(Tunnel {
            stream,
            queue,
            is_whole,
            ended: false,
            received: Vec::new(),
            expected,
            finished: false,
        });
    };
    match event {
        // A client begins when it knows the server's limits; SETTINGS may come again where they are damaged.
        Event::Settings if session.open_streams() == 0 => {
            for message in messages {
                let Some(stream) = session.connect("10.0.0.7:8080", &[("baggage", "a=b")], out) else {
                    return;
                };
                open(stream, session, Some(message.clone()));
            }
        }
        Event::Request { stream, request, end } => {
            let is_connect = request.method == "CONNECT" && !end;
            session.respond(stream, if is_connect { 200 } else { 400 }, &[], !is_connect, out);
            if is_connect {
                open(stream, session, None);
            }
        }
        Event::Data { stream, slot, bytes } => {
            session.release(stream, bytes.len(), out);
            if let Some(tunnel) = tunnels.get_mut(slot as usize) {
                match tunnel.expected {
                    Some(_) => tunnel.received.extend_from_slice(bytes),
                    None => tunnel.queue.extend_from_slice(bytes),
                }
            }
        }
        Event::End { slot, .. } | Event::Response { slot, end: true, .. } => {
            if let Some(tunnel) = tunnels.get_mut(slot as usize) {
                (tunnel.finished, tunnel.is_whole) = (true, true);
            }
        }
        Event::Reset { slot, code, .. } => {
            if let Some(tunnel) = tunnels.get_mut(slot as usize) {
                // h2 asks with NO_ERROR for the rest of what it does not want.
                let is_good = code == ErrorCode::NO_ERROR && tunnel.finished;
                (tunnel.finished, tunnel.ended) = (true, true);
                if !is_good {
                    tunnel.received.clear();
                }
            }
        }
        _ => {}
    }
}

// === h2's end ===

/// Sends each message through a tunnel of its own; true if all came back.
async fn client(io: DuplexStream, window: u32, messages: Vec<Bytes>) -> bool {
    let built = h2::client::Builder::new()
        .initial_window_size(window)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await;
    let Ok((sender, connection)) = built else { return false };
    let connection = tokio::task::spawn_local(connection);
    let mut tunnels = Vec::new();
    for message in messages {
        let Ok(mut sender) = sender.clone().ready().await else { break };
        let request = Request::builder().method(Method::CONNECT).uri("10.0.0.7:8080").body(());
        let Ok((response, out)) = sender.send_request(request.expect("a request"), false) else { break };
        tunnels.push(tokio::task::spawn_local(async move {
            let Ok(response) = response.await else { return false };
            let mut received = Vec::new();
            let sent = send(out, message.clone());
            let (sent, ended) = tokio::join!(sent, receive(response.into_body(), &mut received));
            sent.is_ok() && ended.is_ok() && received == message
        }));
    }
    let mut is_good = true;
    for tunnel in tunnels {
        is_good &= tunnel.await.expect("h2 does not panic");
    }
    drop(sender);
    is_good & connection.await.expect("h2 does not panic").is_ok()
}

/// Sends everything back until the client leaves; true if that went without an error.
async fn server(io: DuplexStream, window: u32) -> bool {
    let built = h2::server::Builder::new().initial_window_size(window).handshake::<_, Bytes>(io).await;
    let Ok(mut connection) = built else { return false };
    let mut is_good = true;
    let mut tunnels = Vec::new();
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else {
            is_good = false;
            break;
        };
        let Ok(out) = respond.send_response(Response::new(()), false) else { continue };
        tunnels.push(tokio::task::spawn_local(async move {
            let mut received = Vec::new();
            let ended = receive(request.into_body(), &mut received).await;
            ended.is_ok() && send(out, received.into()).await.is_ok()
        }));
    }
    drop(connection);
    for tunnel in tunnels {
        is_good &= tunnel.await.expect("h2 does not panic");
    }
    is_good
}

async fn send(mut out: SendStream<Bytes>, mut message: Bytes) -> Result<(), h2::Error> {
    while !message.is_empty() {
        out.reserve_capacity(message.len());
        let Some(capacity) = poll_fn(|context| out.poll_capacity(context)).await else { return Ok(()) };
        let piece = message.split_to(capacity?.min(message.len()));
        out.send_data(piece, false)?;
    }
    out.send_data(Bytes::new(), true)
}

async fn receive(mut body: RecvStream, received: &mut Vec<u8>) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        received.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(())
}
