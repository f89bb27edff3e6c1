//! Records and session of ringway: [`engine::tls`] and [`engine::hbone`], driven as a shard drives them.

use engine::hbone::{Event, Session, Settings, Sink, StreamId};
use engine::tls::{Opened, RecordOpener, RecordSealer, Records};

use crate::direction;
use crate::receiver::Receiver;
use crate::wire::Wire;
use crate::{MESSAGE_BYTES, Step, TURN_BYTES, application_bytes};

/// Seals what the session writes.
struct Seal<'a> {
    sealer: &'a mut RecordSealer,
    out: &'a mut Records,
}

impl Sink for Seal<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.sealer.put(self.out, bytes);
    }
}

/// One end of the tunnel and the application behind it.
struct End {
    session: Session,
    sealer: RecordSealer,
    opener: RecordOpener,
    out: Records,
    received: Vec<u8>,
    /// The one stream, once it is open.
    stream: Option<StreamId>,
    receiver: Receiver,
}

impl End {
    fn new(
        mut sealer: RecordSealer,
        opener: RecordOpener,
        session: impl FnOnce(&mut Seal<'_>) -> Session,
    ) -> Self {
        let mut out = Records::with_capacity(2 * TURN_BYTES);
        let session = session(&mut Seal { sealer: &mut sealer, out: &mut out });
        let received = Vec::with_capacity(4 * TURN_BYTES);
        Self { session, sealer, opener, out, received, stream: None, receiver: Receiver::new() }
    }

    fn stream(&self) -> StreamId {
        self.stream.expect("invariant: `Own::new` opens the stream")
    }

    /// As much of `bytes` as the windows allow; how much.
    fn send(&mut self, bytes: &[u8]) -> usize {
        let stream = self.stream();
        self.session.send(stream, bytes, &mut Seal { sealer: &mut self.sealer, out: &mut self.out })
    }

    /// Puts what was sealed in this turn on the wire.
    fn flush(&mut self, wire: &mut Wire) {
        self.sealer.flush(&mut self.out);
        assert_eq!(wire.write(&self.out), self.out.len(), "a turn fits into the wire");
        self.out.clear();
    }

    /// Takes all that is on the wire.
    fn receive(&mut self, wire: &mut Wire) {
        wire.drain(&mut self.received);
        let mut received = std::mem::take(&mut self.received);
        let mut rest = &mut received[..];
        while let Some(length) = RecordOpener::record_len(rest).expect("invariant: the other end seals") {
            if length > rest.len() {
                break;
            }
            let (record, later) = rest.split_at_mut(length);
            self.read(record);
            rest = later;
        }
        let left = rest.len();
        let used = received.len() - left;
        received.copy_within(used.., 0);
        received.truncate(left);
        self.received = received;
    }

    fn read(&mut self, record: &mut [u8]) {
        let opened = self.opener.open(record).expect("invariant: the other end seals");
        let Opened::Data(mut plain) = opened else { return };
        let mut seal = Seal { sealer: &mut self.sealer, out: &mut self.out };
        while let Some(event) =
            self.session.next(&mut plain, &mut seal).expect("invariant: the other end is ours")
        {
            match event {
                Event::Data { stream, bytes, .. } => {
                    self.receiver.take(bytes);
                    self.session.release(stream, bytes.len(), &mut seal);
                }
                Event::Request { stream, .. } => {
                    self.stream = Some(stream);
                    self.session.respond(stream, 200, &[], false, &mut seal);
                }
                _ => {}
            }
        }
    }
}

/// A tunnel between two ends with one open stream.
pub(crate) struct Own {
    client: End,
    server: End,
    to_server: Wire,
    to_client: Wire,
    application: Vec<u8>,
}

impl Own {
    pub(crate) fn new() -> Self {
        let (client_seals, server_opens) = direction::open(1);
        let (server_seals, client_opens) = direction::open(2);
        let mut own = Self {
            client: End::new(client_seals, client_opens, |out| Session::client(&Settings::client(), out)),
            server: End::new(server_seals, server_opens, |out| Session::server(&Settings::server(), out)),
            to_server: Wire::new(),
            to_client: Wire::new(),
            application: application_bytes(),
        };
        own.turn();
        let End { session, sealer, out, .. } = &mut own.client;
        let stream = session.connect("10.0.0.1:80", &[], &mut Seal { sealer, out });
        own.client.stream = stream;
        own.turn();
        own.turn();
        assert_eq!((own.client.stream, stream.is_some()), (own.server.stream, true), "the stream is open");
        own
    }

    /// Both ends send and receive once.
    fn turn(&mut self) {
        self.client.flush(&mut self.to_server);
        self.server.receive(&mut self.to_server);
        self.server.flush(&mut self.to_client);
        self.client.receive(&mut self.to_client);
    }
}

impl Step for Own {
    fn bulk(&mut self, frame_bytes: usize, frames: usize) {
        self.server.receiver.wait_for(frame_bytes);
        let mut left = frames;
        while left > 0 {
            let turn = left.min(TURN_BYTES.div_ceil(frame_bytes));
            for _ in 0..turn {
                let sent = self.client.send(&self.application[..frame_bytes]);
                assert_eq!(sent, frame_bytes, "the window is far larger than a turn");
            }
            self.turn();
            left -= turn;
        }
        assert_eq!(self.server.receiver.complete(), frames);
    }

    fn exchange(&mut self, count: usize) {
        self.client.receiver.wait_for(MESSAGE_BYTES);
        self.server.receiver.wait_for(MESSAGE_BYTES);
        for _ in 0..count {
            self.client.send(&self.application[..MESSAGE_BYTES]);
            self.client.flush(&mut self.to_server);
            self.server.receive(&mut self.to_server);
            self.server.send(&self.application[..MESSAGE_BYTES]);
            self.server.flush(&mut self.to_client);
            self.client.receive(&mut self.to_client);
        }
        assert_eq!((self.client.receiver.complete(), self.server.receiver.complete()), (count, count));
    }
}
