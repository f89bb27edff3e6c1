//! One tunnel between two node proxies: an HTTP/2 session (RFC 9113) that carries CONNECT streams.
//!
//! [`Session`] is sans-IO: decrypted bytes of the peer go in by [`Session::next`], borrowed [`Event`]s come out, and
//! whatever has to be sent is written to a [`Sink`], which in production seals TLS records. There is no fd, waker or
//! clock in here, and no allocation per frame once streams are open, so a session is plain data: it can be written
//! down between any two bytes and read back by another process.
//!
//! ```text
//!   received bytes ──▶ next ──▶ Event          frame      nine-byte headers, kinds, flags
//!                       │                      receive/   what each kind of frame does to the session
//!                       ▼                      hpack/     header compression, fields: what a header list must be
//!   connect, respond, send, release, … ──▶     stream     the table of streams; flow: their windows
//!                     Sink ──▶ bytes to send   flood      what a peer may do without getting anything done
//! ```
//!
//! The session decides what RFC 9113 decides and nothing else: which target a CONNECT may reach, how much is buffered
//! and when a peer is silent for too long are the caller's.

mod closed;
mod error;
mod event;
mod fields;
mod flood;
mod flow;
pub mod frame;
pub mod hpack;
pub mod limits;
mod receive;
mod send;
mod session;
mod settings;
mod stream;
mod written;

#[cfg(test)]
mod tests;

pub use error::{ErrorCode, SessionError, Side};
pub use event::{Event, Headers, Request};
pub use session::Session;
pub use settings::Settings;
pub use stream::{NO_SLOT, StreamId};

/// Where a session writes its frames.
///
/// A frame may come in several pieces, but no other method of the session runs between them.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
