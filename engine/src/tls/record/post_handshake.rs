//! Handshake messages after the handshake: KeyUpdate is obeyed, tickets are skipped, all else is an error.
//!
//! A message may be cut anywhere. No more of it is kept than tells what it is, so that the state of a connection stays a
//! few bytes whatever the peer sends.

use super::super::limits::POST_HANDSHAKE_MESSAGE_MAX_BYTES;
use super::error::RecordError;
use crate::handover::{ReadError, Reader, Writer};

/// Types of messages (RFC 8446 §4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Type and length of a message.
const HEAD_BYTES: usize = 4;
/// A whole KeyUpdate.
const KEY_UPDATE_BYTES: usize = 5;

/// Reads the peer's messages, piece by piece.
#[derive(Debug)]
pub(super) struct PostHandshake {
    /// Only servers send tickets (RFC 8446 §4.6.1).
    tickets: bool,
    /// The beginning of a message: `head[..held]`.
    head: [u8; KEY_UPDATE_BYTES],
    held: usize,
    /// Bytes of a ticket still to come.
    skip: u32,
}

/// What a piece brought to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    KeyUpdate { answer: bool },
}

// === impl PostHandshake ===

impl PostHandshake {
    pub(super) fn new(tickets: bool) -> Self {
        Self { tickets, head: [0; KEY_UPDATE_BYTES], held: 0, skip: 0 }
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_in_message(&self) -> bool {
        self.held > 0 || self.skip > 0
    }

    /// Reads the content of one record.
    pub(super) fn read(&mut self, mut fragment: &[u8]) -> Result<Heard, RecordError> {
        // RFC 8446 §5.1
        if fragment.is_empty() {
            return Err(RecordError::EmptyFragment);
        }
        while let Some((&byte, rest)) = fragment.split_first() {
            if self.skip > 0 {
                let skipped = fragment.len().min(self.skip as usize);
                self.skip -= skipped as u32;
                fragment = &fragment[skipped..];
                continue;
            }
            self.head[self.held] = byte;
            self.held += 1;
            fragment = rest;
            match self.held {
                HEAD_BYTES => self.read_head()?,
                KEY_UPDATE_BYTES => return self.read_key_update(fragment),
                _ => {}
            }
        }
        Ok(Heard::Nothing)
    }

    fn read_head(&mut self) -> Result<(), RecordError> {
        let [message, length @ .., _] = self.head;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        match message {
            KEY_UPDATE if length == 1 => Ok(()),
            KEY_UPDATE => Err(RecordError::BadKeyUpdate),
            NEW_SESSION_TICKET if self.tickets => {
                if length > POST_HANDSHAKE_MESSAGE_MAX_BYTES {
                    return Err(RecordError::MessageTooLong { length });
                }
                self.held = 0;
                self.skip = length;
                Ok(())
            }
            message => Err(RecordError::UnexpectedMessage { message }),
        }
    }

    fn read_key_update(&mut self, after: &[u8]) -> Result<Heard, RecordError> {
        // RFC 8446 §4.6.3
        let answer = match self.head[HEAD_BYTES] {
            0 => false,
            1 => true,
            _ => return Err(RecordError::BadKeyUpdate),
        };
        // RFC 8446 §5.1: the last message before a change of keys ends its record.
        if !after.is_empty() {
            return Err(RecordError::KeyUpdateNotLast);
        }
        self.held = 0;
        Ok(Heard::KeyUpdate { answer })
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        w.bool(self.tickets);
        w.bytes(&self.head[..self.held]);
        w.u32(self.skip);
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut read = Self::new(r.bool()?);
        let held = r.bytes()?;
        if held.len() >= KEY_UPDATE_BYTES {
            return Err(ReadError::Invalid("the beginning of a handshake message"));
        }
        read.head[..held.len()].copy_from_slice(held);
        read.held = held.len();
        read.skip = r.u32()?;
        Ok(read)
    }
}

/// The message that says: from here on I use the next key (RFC 8446 §4.6.3).
pub(super) fn key_update(request_peer: bool) -> [u8; KEY_UPDATE_BYTES] {
    [KEY_UPDATE, 0, 0, 1, u8::from(request_peer)]
}
