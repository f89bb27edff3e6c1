//! What goes wrong with a record, and the alert that tells the peer.

use thiserror::Error;

use super::super::alert::Alert;
use super::super::limits::RECORD_LENGTH_MAX_BYTES;

/// Why a connection ends in the middle of its records. All of them are the peer's fault, or that of whoever changed its
/// bytes on the way; there is nothing to do but to connect anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("the peer sent something that is no protected TLS record (it begins with byte {first})")]
    NotProtected { first: u8 },
    #[error("the peer sent a record of {length} bytes, {RECORD_LENGTH_MAX_BYTES} are allowed")]
    TooLong { length: usize },
    #[error("a record of the peer was changed on its way, or sealed with another key")]
    BadMac,
    #[error("the peer sent a record that holds more than 16,384 bytes of data")]
    DataTooLong,
    #[error("the peer sent a record that holds nothing but padding")]
    NoContent,
    #[error("the peer sent content of type {content}, which has no place after the handshake")]
    UnexpectedContent { content: u8 },
    #[error("the peer put other records between the pieces of a handshake message")]
    Interleaved,
    #[error("the peer sent an empty piece of a handshake message")]
    EmptyFragment,
    #[error("the peer sent handshake message {message}, which has no place after the handshake")]
    UnexpectedMessage { message: u8 },
    #[error("the peer sent a malformed KeyUpdate")]
    BadKeyUpdate,
    #[error("the peer sent more handshake bytes in the record of a KeyUpdate, after it")]
    KeyUpdateNotLast,
    #[error("the peer sent a handshake message of {length} bytes after the handshake")]
    MessageTooLong { length: u32 },
    #[error("the peer sent a malformed alert")]
    BadAlert,
    #[error("the peer sent {limit} records in a row that carry no data")]
    NoData { limit: u32 },
    #[error("the peer ended the connection with alert {0}: {cure}", cure = .0.cure())]
    Alert(Alert),
}

// === impl RecordError ===

impl RecordError {
    /// The alert to send before closing (RFC 8446 §6.2); none where the peer has already ended the connection, or never
    /// spoke TLS.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::BadMac => Some(Alert::BAD_RECORD_MAC),
            Self::TooLong { .. } | Self::DataTooLong => Some(Alert::RECORD_OVERFLOW),
            Self::NotProtected { .. }
            | Self::NoContent
            | Self::UnexpectedContent { .. }
            | Self::Interleaved
            | Self::EmptyFragment
            | Self::UnexpectedMessage { .. }
            | Self::KeyUpdateNotLast
            | Self::NoData { .. } => Some(Alert::UNEXPECTED_MESSAGE),
            Self::BadKeyUpdate => Some(Alert::ILLEGAL_PARAMETER),
            Self::MessageTooLong { .. } | Self::BadAlert => Some(Alert::DECODE_ERROR),
            Self::Alert(_) => None,
        }
    }
}
