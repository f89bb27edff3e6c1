//! The usual libraries: a buffered rustls connection at each end, the h2 crate on it, with ztunnel's settings.
//!
//! Both ends are polled in turn without any wake-ups: the cheapest executor there is.

mod stream;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http::{Request, Response};

use crate::receiver::Receiver;
use crate::wire::Wire;
use crate::{MESSAGE_BYTES, SetupError, Step, TURN_BYTES, application_bytes};
use stream::{TlsStream, handshake};

const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 1 << 20;

/// One direction's wire, held by both ends.
type SharedWire = Rc<RefCell<Wire>>;

/// One end's half of the stream, and the application behind it.
struct End {
    send: SendStream<Bytes>,
    receive: RecvStream,
    receiver: Receiver,
}

/// A tunnel between two ends with one open stream.
pub(crate) struct RustlsH2 {
    client_connection: client::Connection<TlsStream, Bytes>,
    server_connection: server::Connection<TlsStream, Bytes>,
    client: End,
    server: End,
    application: Vec<u8>,
}

impl RustlsH2 {
    pub(crate) fn new() -> Result<Self, SetupError> {
        let (client, server) = handshake()?;
        let mut builder = client::Builder::new();
        builder.initial_window_size(STREAM_WINDOW_BYTES).max_frame_size(FRAME_BYTES);
        builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let mut opening = Box::pin(builder.handshake::<_, Bytes>(client));
        let mut builder = server::Builder::new();
        builder.initial_window_size(STREAM_WINDOW_BYTES).max_frame_size(FRAME_BYTES);
        builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let mut accepting = Box::pin(builder.handshake::<_, Bytes>(server));

        let (mut requests, mut client_connection) = until_ready(|cx| opening.as_mut().poll(cx))?;
        let mut server_connection = until_ready(|cx| {
            drive(&mut client_connection, cx);
            accepting.as_mut().poll(cx)
        })?;

        let request = Request::connect("10.0.0.1:80").body(())?;
        let (mut response, client_send) = requests.send_request(request, false)?;
        let accepted = until_ready(|cx| {
            drive(&mut client_connection, cx);
            server_connection.poll_accept(cx)
        });
        let (request, mut respond) = accepted.ok_or("the client left")??;
        let server_send = respond.send_response(Response::new(()), false)?;
        let response = until_ready(|cx| {
            drive(&mut client_connection, cx);
            let _ = server_connection.poll_closed(cx);
            Pin::new(&mut response).poll(cx)
        })?;

        let client = End { send: client_send, receive: response.into_body(), receiver: Receiver::new() };
        let server = End { send: server_send, receive: request.into_body(), receiver: Receiver::new() };
        Ok(Self { client_connection, server_connection, client, server, application: application_bytes() })
    }

    /// Both connections do what they can.
    fn turn(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        drive(&mut self.client_connection, cx);
        assert!(self.server_connection.poll_closed(cx).is_pending(), "neither end closes the tunnel");
    }
}

impl Step for RustlsH2 {
    fn bulk(&mut self, frame_bytes: usize, frames: usize) {
        self.server.receiver.wait_for(frame_bytes);
        let mut left = frames;
        while self.server.receiver.complete() < frames {
            for _ in 0..left.min(TURN_BYTES.div_ceil(frame_bytes)) {
                if !self.client.send(&self.application[..frame_bytes]) {
                    break;
                }
                left -= 1;
            }
            self.turn();
            self.server.receive();
        }
    }

    fn exchange(&mut self, count: usize) {
        self.client.receiver.wait_for(MESSAGE_BYTES);
        self.server.receiver.wait_for(MESSAGE_BYTES);
        for done in 1..=count {
            assert!(self.client.send(&self.application[..MESSAGE_BYTES]), "a message fits into any window");
            while self.server.receiver.complete() < done {
                self.turn();
                self.server.receive();
            }
            assert!(self.server.send(&self.application[..MESSAGE_BYTES]), "a message fits into any window");
            while self.client.receiver.complete() < done {
                self.turn();
                self.client.receive();
            }
        }
    }
}

impl End {
    /// One frame, if the windows allow all of it.
    fn send(&mut self, bytes: &[u8]) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() < bytes.len() {
            if self.send.poll_capacity(cx).is_pending() {
                return false;
            }
        }
        self.send.send_data(Bytes::copy_from_slice(bytes), false).expect("invariant: the stream stays open");
        true
    }

    /// Gives what has arrived to the application.
    fn receive(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(data)) = self.receive.poll_data(cx) {
            let data = data.expect("invariant: the stream stays open");
            self.receiver.take(&data);
            self.receive
                .flow_control()
                .release_capacity(data.len())
                .expect("invariant: so much has just come");
        }
    }
}

fn drive(connection: &mut client::Connection<TlsStream, Bytes>, cx: &mut Context<'_>) {
    assert!(Pin::new(connection).poll(cx).is_pending(), "neither end closes the tunnel");
}

/// Polls again and again: both ends are polled by `poll`, so that it has an end.
fn until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = poll(cx) {
            return value;
        }
    }
}
