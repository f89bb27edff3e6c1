//! SETTINGS: what we announce, and what the peer announced (RFC 9113 §6.5).

use super::Sink;
use super::error::{ErrorCode, Fault};
use super::frame::{HEAD_BYTES, Head, Kind};
use super::limits;
use super::session::Role;
use super::stream::StreamId;
use crate::handover::{ReadError, Reader, Writer};

/// Our side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes the peer may send on a stream before the application took any.
    pub stream_window: u32,
    /// The largest frame the peer may send.
    pub frame_size: u32,
    /// Streams the peer may have open. Only a server announces it.
    pub streams_max: u32,
    /// The largest header list the peer may send, counted as RFC 9113 §6.5.2 does.
    pub header_list_max: u32,
    /// Stream credit goes back to the peer once so many bytes of it came together.
    pub credit_batch: u32,
}

/// The peer's side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerSettings {
    pub(super) stream_window: u32,
    pub(super) frame_size: u32,
    pub(super) streams_max: u32,
}

/// The parameters of a SETTINGS frame that is being read. They take effect together, at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    parameters: u32,
    stream_window: Option<u32>,
    frame_size: Option<u32>,
    streams_max: Option<u32>,
}

const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Bytes of one parameter.
pub(super) const PARAMETER_BYTES: usize = 6;

// === impl Settings ===

impl Settings {
    /// What ztunnel announces as a client.
    pub fn client() -> Self {
        Self { header_list_max: limits::HEADER_LIST_CLIENT_BYTES_MAX, ..Self::server() }
    }

    /// What ztunnel announces as a server.
    pub fn server() -> Self {
        Self {
            stream_window: limits::STREAM_WINDOW_BYTES,
            frame_size: limits::FRAME_BYTES_ANNOUNCED,
            streams_max: limits::STREAMS_MAX,
            header_list_max: limits::HEADER_LIST_SERVER_BYTES_MAX,
            credit_batch: limits::STREAM_WINDOW_BYTES / 4,
        }
    }

    /// The nearest settings that RFC 9113 §6.5.2 allows and that cannot stop a stream for ever.
    pub(super) fn within_bounds(self) -> Self {
        let stream_window = self.stream_window.clamp(1, limits::WINDOW_BYTES_MAX);
        Self {
            stream_window,
            frame_size: self.frame_size.clamp(limits::FRAME_BYTES_MIN, limits::FRAME_BYTES_MAX),
            streams_max: self.streams_max,
            header_list_max: self.header_list_max,
            // Credit that waits for more than a whole window would never be sent.
            credit_batch: self.credit_batch.clamp(1, stream_window),
        }
    }

    pub(super) fn put(&self, role: Role, out: &mut impl Sink) {
        let first = match role {
            Role::Client => (ENABLE_PUSH, 0),
            Role::Server => (MAX_CONCURRENT_STREAMS, self.streams_max),
        };
        let parameters = [
            first,
            (INITIAL_WINDOW_SIZE, self.stream_window),
            (MAX_FRAME_SIZE, self.frame_size),
            (MAX_HEADER_LIST_SIZE, self.header_list_max),
        ];
        let mut bytes = [0; HEAD_BYTES + 4 * PARAMETER_BYTES];
        let (head, payload) = bytes.split_at_mut(HEAD_BYTES);
        head.copy_from_slice(&Head::new(Kind::Settings, 0, StreamId::CONNECTION, payload.len()).bytes());
        for (place, (parameter, value)) in payload.chunks_exact_mut(PARAMETER_BYTES).zip(parameters) {
            place[..2].copy_from_slice(&parameter.to_be_bytes());
            place[2..].copy_from_slice(&value.to_be_bytes());
        }
        out.put(&bytes);
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { stream_window, frame_size, streams_max, header_list_max, credit_batch } = self;
        for value in [stream_window, frame_size, streams_max, header_list_max, credit_batch] {
            w.u32(*value);
        }
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let read = Self {
            stream_window: r.u32()?,
            frame_size: r.u32()?,
            streams_max: r.u32()?,
            header_list_max: r.u32()?,
            credit_batch: r.u32()?,
        };
        if read != read.within_bounds() {
            return Err(ReadError::Invalid("settings of a tunnel"));
        }
        Ok(read)
    }
}

// === impl PeerSettings ===

impl PeerSettings {
    /// What holds before the peer's first SETTINGS (RFC 9113 §6.5.2).
    pub(super) fn initial() -> Self {
        Self {
            stream_window: limits::INITIAL_WINDOW_BYTES,
            frame_size: limits::FRAME_BYTES_MIN,
            streams_max: limits::STREAMS_BEFORE_SETTINGS_MAX,
        }
    }

    pub(super) fn apply(&mut self, announced: &Announced) {
        self.stream_window = announced.stream_window.unwrap_or(self.stream_window);
        self.frame_size = announced.frame_size.unwrap_or(self.frame_size);
        self.streams_max = announced.streams_max.unwrap_or(self.streams_max);
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { stream_window, frame_size, streams_max } = self;
        for value in [stream_window, frame_size, streams_max] {
            w.u32(*value);
        }
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let read = Self { stream_window: r.u32()?, frame_size: r.u32()?, streams_max: r.u32()? };
        if read.stream_window > limits::WINDOW_BYTES_MAX
            || !(limits::FRAME_BYTES_MIN..=limits::FRAME_BYTES_MAX).contains(&read.frame_size)
        {
            return Err(ReadError::Invalid("settings of a peer"));
        }
        Ok(read)
    }
}

// === impl Announced ===

impl Announced {
    /// RFC 9113 §6.5.2: checks one parameter. Unknown ones are ignored (§6.5.2, last sentence).
    pub(super) fn parameter(&mut self, bytes: [u8; PARAMETER_BYTES], role: Role) -> Result<(), Fault> {
        let [i0, i1, v0, v1, v2, v3] = bytes;
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        self.parameters += 1;
        if self.parameters > limits::SETTINGS_PARAMETERS_MAX {
            return Err(Fault::calm("too many parameters in a SETTINGS frame"));
        }

        match u16::from_be_bytes([i0, i1]) {
            ENABLE_PUSH if value > 1 => {
                return Err(Fault::protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1"));
            }
            ENABLE_PUSH if value == 1 && role == Role::Client => {
                return Err(Fault::protocol("a server announced SETTINGS_ENABLE_PUSH"));
            }
            MAX_CONCURRENT_STREAMS => self.streams_max = Some(value),
            INITIAL_WINDOW_SIZE if value > limits::WINDOW_BYTES_MAX => {
                let text = "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1";
                return Err(Fault { code: ErrorCode::FLOW_CONTROL_ERROR, text });
            }
            INITIAL_WINDOW_SIZE => self.stream_window = Some(value),
            MAX_FRAME_SIZE if !(limits::FRAME_BYTES_MIN..=limits::FRAME_BYTES_MAX).contains(&value) => {
                return Err(Fault::protocol("SETTINGS_MAX_FRAME_SIZE is outside 2^14 to 2^24-1"));
            }
            MAX_FRAME_SIZE => self.frame_size = Some(value),
            // RFC 8441 §3
            ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Fault::protocol("SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1"));
            }
            // HEADER_TABLE_SIZE binds an encoder with a dynamic table, MAX_HEADER_LIST_SIZE is advice.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn stream_window(&self) -> Option<u32> {
        self.stream_window
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { parameters, stream_window, frame_size, streams_max } = self;
        w.u32(*parameters);
        for value in [stream_window, frame_size, streams_max] {
            w.bool(value.is_some());
            w.u32(value.unwrap_or(0));
        }
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        fn option(r: &mut Reader<'_>) -> Result<Option<u32>, ReadError> {
            let (some, value) = (r.bool()?, r.u32()?);
            Ok(some.then_some(value))
        }
        Ok(Self {
            parameters: r.u32()?,
            stream_window: option(r)?,
            frame_size: option(r)?,
            streams_max: option(r)?,
        })
    }
}
