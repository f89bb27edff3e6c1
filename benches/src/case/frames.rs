//! Sessions without records: what is written by one is read by the other.

use engine::hbone::{Event, Session, Settings, StreamId};

use super::Work;
use super::headers::CONNECT;
use crate::{MESSAGE_BYTES, application_bytes};

/// Both ends of a session with one stream, and what is on its way between them.
struct Pair {
    client: Session,
    server: Session,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    stream: StreamId,
}

impl Pair {
    fn new() -> Self {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let client = Session::client(&Settings::client(), &mut to_server);
        let server = Session::server(&Settings::server(), &mut to_client);
        let mut pair = Self { client, server, to_server, to_client, stream: StreamId::CONNECTION };
        pair.settle();
        pair.stream = pair.open_stream();
        pair.settle();
        pair
    }

    fn open_stream(&mut self) -> StreamId {
        let stream = self.client.connect(CONNECT[1].1, &CONNECT[2..], &mut self.to_server);
        stream.expect("invariant: the streams before have ended, one is far below the limit")
    }

    /// Takes all that is on its way, until nothing is.
    fn settle(&mut self) {
        while !(self.to_server.is_empty() && self.to_client.is_empty()) {
            self.server_takes();
            self.client_takes();
        }
    }

    /// The server reads what the client wrote; bytes of DATA.
    fn server_takes(&mut self) -> usize {
        let data = take(&mut self.server, &self.to_server, &mut self.to_client);
        self.to_server.clear();
        data
    }

    /// The client reads what the server wrote; bytes of DATA.
    fn client_takes(&mut self) -> usize {
        let data = take(&mut self.client, &self.to_client, &mut self.to_server);
        self.to_client.clear();
        data
    }
}

/// Reads all of `input` as a proxy does whose applications take and answer everything at once; bytes of DATA.
fn take(session: &mut Session, mut input: &[u8], out: &mut Vec<u8>) -> usize {
    let mut data = 0;
    while let Some(event) = session.next(&mut input, out).expect("invariant: the other end is ours") {
        match event {
            Event::Request { stream, .. } => session.respond(stream, 200, &[], false, out),
            Event::Data { stream, bytes, .. } => {
                data += bytes.len();
                session.release(stream, bytes.len(), out);
            }
            Event::End { stream, .. } => session.end(stream, out),
            _ => {}
        }
    }
    data
}

/// The client writes messages.
pub(super) struct Build {
    pair: Pair,
    message: Vec<u8>,
}

impl Build {
    pub(super) fn new() -> Self {
        let mut message = application_bytes();
        message.truncate(MESSAGE_BYTES);
        Self { pair: Pair::new(), message }
    }
}

impl Work for Build {
    fn prepare(&mut self, _operations: usize) {
        self.pair.settle();
    }

    fn run(&mut self, operations: usize) {
        let Pair { client, to_server, stream, .. } = &mut self.pair;
        let mut sent = 0;
        for _ in 0..operations {
            sent += client.send(*stream, &self.message, to_server);
        }
        assert_eq!(sent, operations * MESSAGE_BYTES, "the windows are open");
    }
}

/// The server reads messages.
pub(super) struct Parse {
    build: Build,
}

impl Parse {
    pub(super) fn new() -> Self {
        Self { build: Build::new() }
    }
}

impl Work for Parse {
    fn prepare(&mut self, operations: usize) {
        self.build.prepare(operations);
        self.build.run(operations);
    }

    fn run(&mut self, operations: usize) {
        assert_eq!(self.build.pair.server_takes(), operations * MESSAGE_BYTES);
    }
}

/// The life of a stream, beside another one.
pub(super) struct Streams {
    pair: Pair,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { pair: Pair::new() }
    }
}

impl Work for Streams {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        let pair = &mut self.pair;
        for _ in 0..operations {
            let stream = pair.open_stream();
            pair.server_takes();
            pair.client_takes();
            pair.client.end(stream, &mut pair.to_server);
            pair.server_takes();
            pair.client_takes();
            assert_eq!((pair.client.open_streams(), pair.server.open_streams()), (1, 1));
        }
    }
}
