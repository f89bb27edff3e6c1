//! The half that opens: sealed records in, their data out, in the buffer they were received in.

use super::super::alert::Alert;
use super::super::limits::{RECORD_DATA_MAX_BYTES, RECORD_LENGTH_MAX_BYTES, RECORDS_WITHOUT_DATA_MAX_COUNT};
use super::super::secrets::Secret;
use super::super::suite::Suite;
use super::error::RecordError;
use super::keys::TrafficKeys;
use super::post_handshake::{Heard, PostHandshake};
use super::{HEADER_BYTES, content, data_len};
use crate::handover::{ReadError, Reader, Writer};

/// Opens what we receive. After an error nothing more can be opened.
#[derive(Debug)]
pub struct RecordOpener {
    keys: TrafficKeys,
    post_handshake: PostHandshake,
    /// Records in a row that carried no data.
    without_data: u32,
    /// The peer has said close_notify.
    closed: bool,
}

/// What was in a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'r> {
    /// Plain bytes, at least one.
    Data(&'r [u8]),
    /// A ticket, an empty record, a piece of a message: nothing to do.
    Nothing,
    /// The peer changed its key. If `answer`, it wants us to change ours ([`super::RecordSealer::key_update`]); several
    /// such wishes before our next record may be answered once.
    KeyUpdate { answer: bool },
    /// close_notify: the peer sends no more. Whatever comes after it is ignored (RFC 8446 §6.1).
    Closed,
}

// === impl RecordOpener ===

impl RecordOpener {
    pub(in crate::tls) fn new(suite: Suite, secret: Secret, sequence: u64, peer_is_server: bool) -> Self {
        Self {
            keys: TrafficKeys::new(suite, secret, sequence),
            post_handshake: PostHandshake::new(peer_is_server),
            without_data: 0,
            closed: false,
        }
    }

    /// The whole length, header included, of the record that `bytes` begins with; `None` while the header is incomplete.
    #[inline]
    pub fn record_len(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
        match bytes.first() {
            None => return Ok(None),
            // RFC 8446 §5.2: every protected record is application data on the outside. The version that follows must be
            // ignored (§5.1).
            Some(&content::APPLICATION_DATA) => {}
            Some(&first) => return Err(RecordError::NotProtected { first }),
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = data_len(header);
        // RFC 8446 §5.2
        if length > RECORD_LENGTH_MAX_BYTES {
            return Err(RecordError::TooLong { length });
        }
        Ok(Some(HEADER_BYTES + length))
    }

    /// Opens one whole record, as long as [`record_len`](Self::record_len) says, in place.
    pub fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<Opened<'r>, RecordError> {
        debug_assert_eq!(Self::record_len(record), Ok(Some(record.len())));
        if self.closed {
            return Ok(Opened::Closed);
        }
        let (header, sealed) = record.split_first_chunk_mut().ok_or(RecordError::BadMac)?;
        let inner = self.keys.open(*header, sealed).ok_or(RecordError::BadMac)?;
        // RFC 8446 §5.4: data, type and padding together.
        if inner.len() > RECORD_DATA_MAX_BYTES + 1 {
            return Err(RecordError::DataTooLong);
        }
        let (content, bytes) = split_padding(inner).ok_or(RecordError::NoContent)?;

        // RFC 8446 §5.1: no other record between the pieces of a handshake message.
        if self.post_handshake.is_in_message() && content != content::HANDSHAKE {
            return Err(RecordError::Interleaved);
        }
        match content {
            content::APPLICATION_DATA if !bytes.is_empty() => {
                self.without_data = 0;
                Ok(Opened::Data(bytes))
            }
            content::APPLICATION_DATA => self.count_without_data(Opened::Nothing),
            content::HANDSHAKE => self.hear(bytes),
            content::ALERT => self.be_alerted(bytes),
            content => Err(RecordError::UnexpectedContent { content }),
        }
    }

    pub fn write_down(&self, w: &mut Writer) {
        self.keys.write_down(w);
        self.post_handshake.write_down(w);
        w.u32(self.without_data);
        w.bool(self.closed);
    }

    pub fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        Ok(Self {
            keys: TrafficKeys::read_back(r)?,
            post_handshake: PostHandshake::read_back(r)?,
            without_data: r.u32()?,
            closed: r.bool()?,
        })
    }

    fn hear(&mut self, fragment: &[u8]) -> Result<Opened<'static>, RecordError> {
        match self.post_handshake.read(fragment)? {
            Heard::Nothing => self.count_without_data(Opened::Nothing),
            Heard::KeyUpdate { answer } => {
                self.keys.update();
                self.count_without_data(Opened::KeyUpdate { answer })
            }
        }
    }

    fn be_alerted(&mut self, bytes: &[u8]) -> Result<Opened<'static>, RecordError> {
        // RFC 8446 §5.1: exactly one alert per record. The level is implied by the description (§6).
        let &[_level, description] = bytes else { return Err(RecordError::BadAlert) };
        match Alert(description) {
            Alert::CLOSE_NOTIFY => {
                self.closed = true;
                Ok(Opened::Closed)
            }
            // RFC 8446 §6.1: to be followed by a close_notify.
            Alert::USER_CANCELED => self.count_without_data(Opened::Nothing),
            alert => Err(RecordError::Alert(alert)),
        }
    }

    fn count_without_data(&mut self, opened: Opened<'static>) -> Result<Opened<'static>, RecordError> {
        self.without_data += 1;
        if self.without_data > RECORDS_WITHOUT_DATA_MAX_COUNT {
            return Err(RecordError::NoData { limit: RECORDS_WITHOUT_DATA_MAX_COUNT });
        }
        Ok(opened)
    }
}

/// Splits an inner plaintext into type and content: the type is the last byte that is not zero (RFC 8446 §5.4).
#[inline]
fn split_padding(inner: &[u8]) -> Option<(u8, &[u8])> {
    let end = inner.iter().rposition(|&byte| byte != 0)?;
    Some((inner[end], &inner[..end]))
}
