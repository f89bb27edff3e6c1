//! The half that seals: plain bytes in, full records out, in the buffer they are sent from.
//!
//! Invariant: between `put` and `flush` the open record is the end of `out`, its header room included; so the caller
//! leaves the end of `out` alone until it has flushed. Nothing is allocated while `out` has room.

use super::super::alert::Alert;
use super::super::limits::{RECORD_DATA_MAX_BYTES, RECORDS_PER_KEY_MAX_COUNT};
use super::super::secrets::Secret;
use super::super::suite::Suite;
use super::keys::TrafficKeys;
use super::outgoing::RecordBuffer;
use super::{HEADER_BYTES, TRAILER_BYTES, content, header, post_handshake};
use crate::handover::{ReadError, Reader, Writer};

/// From here on a record that stays short is cheaper than copying its bytes together with what comes next.
const DIRECT_MIN_BYTES: usize = 4 * 1024;

/// Seals what we send.
#[derive(Debug)]
pub struct RecordSealer {
    keys: TrafficKeys,
    /// Plain bytes in the open record; 0 means that none is open.
    open: usize,
    /// Records after which a KeyUpdate is sent.
    records_max: u64,
}

// === impl RecordSealer ===

impl RecordSealer {
    pub(in crate::tls) fn new(suite: Suite, secret: Secret, sequence: u64) -> Self {
        Self::over(TrafficKeys::new(suite, secret, sequence))
    }

    fn over(keys: TrafficKeys) -> Self {
        Self { keys, open: 0, records_max: RECORDS_PER_KEY_MAX_COUNT }
    }

    /// Appends `bytes` to the open record at the end of `out`, and seals each record that is full. Call `flush` at the
    /// end of the turn.
    ///
    /// What is more than a message is sealed straight from `bytes`, whether or not it fills its record.
    pub fn put(&mut self, out: &mut impl RecordBuffer, mut bytes: &[u8]) {
        if bytes.len() >= RECORD_DATA_MAX_BYTES {
            self.flush(out);
        }
        while !bytes.is_empty() {
            if self.open == 0 {
                self.update_key_when_due(out);
                if bytes.len() >= DIRECT_MIN_BYTES {
                    let (record, rest) = bytes.split_at(RECORD_DATA_MAX_BYTES.min(bytes.len()));
                    self.seal_from(out, record);
                    bytes = rest;
                    continue;
                }
                out.grow(HEADER_BYTES);
            }
            let room = RECORD_DATA_MAX_BYTES - self.open;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            out.append(now);
            self.open += now.len();
            bytes = later;
            if self.open == RECORD_DATA_MAX_BYTES {
                self.flush(out);
            }
        }
    }

    /// Seals the open record, if any.
    pub fn flush(&mut self, out: &mut impl RecordBuffer) {
        if self.open > 0 {
            self.seal_last(out, self.open, content::APPLICATION_DATA);
            self.open = 0;
        }
    }

    /// Changes to the next key. Flushes first: the message stands alone between two records (RFC 8446 §5.1).
    pub fn key_update(&mut self, out: &mut impl RecordBuffer, request_peer: bool) {
        self.flush(out);
        self.seal_message(out, content::HANDSHAKE, &post_handshake::key_update(request_peer));
        self.keys.update();
    }

    /// Says that nothing more will be sent (RFC 8446 §6.1). The last thing to call.
    pub fn close_notify(&mut self, out: &mut impl RecordBuffer) {
        const WARNING: u8 = 1;
        self.flush(out);
        self.seal_message(out, content::ALERT, &[WARNING, Alert::CLOSE_NOTIFY.0]);
    }

    /// Ends the connection with an error (RFC 8446 §6.2). The last thing to call.
    pub fn alert(&mut self, out: &mut impl RecordBuffer, alert: Alert) {
        const FATAL: u8 = 2;
        self.flush(out);
        self.seal_message(out, content::ALERT, &[FATAL, alert.0]);
    }

    /// Writes the state down. Flush before: an open record is part of `out`, not of this.
    pub fn write_down(&self, w: &mut Writer) {
        debug_assert_eq!(self.open, 0, "flush before writing down");
        self.keys.write_down(w);
    }

    pub fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        TrafficKeys::read_back(r).map(Self::over)
    }

    /// Sends KeyUpdate before the key has sealed as much as it may (RFC 8446 §5.5).
    #[inline]
    fn update_key_when_due(&mut self, out: &mut impl RecordBuffer) {
        if self.keys.records() >= self.records_max {
            self.key_update(out, false);
        }
    }

    fn seal_message(&mut self, out: &mut impl RecordBuffer, content: u8, message: &[u8]) {
        debug_assert_eq!(self.open, 0);
        out.grow(HEADER_BYTES);
        out.append(message);
        self.seal_last(out, message.len(), content);
    }

    /// Seals the last `plain` bytes of `out`, which have room for a header before them, in place.
    fn seal_last(&mut self, out: &mut impl RecordBuffer, plain: usize, content: u8) {
        let start = out.len() - plain - HEADER_BYTES;
        out.grow(TRAILER_BYTES);
        let (head, rest) = out[start..].split_at_mut(HEADER_BYTES);
        let (plain, trailer) = rest.split_last_chunk_mut().expect("invariant: the trailer was just appended");
        let header = header(plain.len());
        head.copy_from_slice(&header);
        self.keys.seal(header, plain, content, trailer);
    }

    /// Seals `plain` into a new record at the end of `out`.
    fn seal_from(&mut self, out: &mut impl RecordBuffer, plain: &[u8]) {
        let header = header(plain.len());
        out.append(&header);
        let start = out.len();
        out.grow(plain.len() + TRAILER_BYTES);
        let (sealed, trailer) =
            out[start..].split_last_chunk_mut().expect("invariant: room for the trailer was just made");
        self.keys.seal_from(header, plain, sealed, content::APPLICATION_DATA, trailer);
    }

    /// Another limit than the real one, which takes 2^37 bytes to reach.
    #[cfg(test)]
    pub(in crate::tls) fn set_records_max(&mut self, count: u64) {
        self.records_max = count;
    }

    /// A record of any content, for peers that break the rules.
    #[cfg(test)]
    pub(in crate::tls) fn seal_any(&mut self, out: &mut impl RecordBuffer, content: u8, bytes: &[u8]) {
        self.flush(out);
        self.seal_message(out, content, bytes);
    }
}
