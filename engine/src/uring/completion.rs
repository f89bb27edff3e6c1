//! What the driver tells its shard.

use std::io;
use std::os::fd::OwnedFd;

use super::buffers::Lease;

/// Chosen by the caller of an operation; comes back with each of its completions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// How a socket is received from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvMode {
    /// Armed until it ends, small buffers: many messages, or none for a long time.
    Chatty,
    /// One large buffer for each call: a transfer.
    Bulk,
}

/// One finished step of an operation. The operation is over unless `more` is set.
#[derive(Debug)]
pub enum Completion {
    Accepted {
        token: Token,
        result: io::Result<OwnedFd>,
        more: bool,
    },
    Received {
        token: Token,
        result: Received,
        more: bool,
    },
    /// The part of the buffer that was to be sent was sent, or an error ended it. `sent` is a place in the whole buffer:
    /// what lies between it and the end of the part was not taken by the socket.
    Sent {
        token: Token,
        buffer: Vec<u8>,
        sent: usize,
        result: io::Result<()>,
    },
    /// [`Driver::watch`](super::Driver::watch) or [`Driver::writable`](super::Driver::writable) fired: the poll events.
    Polled {
        token: Token,
        result: io::Result<u32>,
    },
    Timer {
        token: Token,
    },
    /// Another thread rang: look into the mailbox. May come without a cause, never fails to come.
    Doorbell,
}

/// What a receive brought.
#[derive(Debug)]
pub enum Received {
    Data(Lease),
    Eof,
    /// By [`Driver::cancel`](super::Driver::cancel); what had arrived before was delivered before.
    Cancelled,
    Failed(io::Error),
}
