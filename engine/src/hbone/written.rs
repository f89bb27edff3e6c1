//! A session written down, between any two bytes of its input, and read back.

use super::closed::ClosedStreams;
use super::error::{ErrorCode, Fault};
use super::flood::Floods;
use super::flow::{ReceiveWindow, SendWindow};
use super::hpack::{Decoder, Encoder};
use super::receive::Incoming;
use super::session::{Leaving, Role, Session};
use super::settings::{PeerSettings, Settings};
use super::stream::{StreamId, Streams};
use crate::handover::{ReadError, Reader, Writer};

impl Session {
    /// Writes everything down. Bytes that were given to [`Session::next`] and not used, and what its sink holds, are
    /// the caller's.
    pub fn write_down(&self, w: &mut Writer) {
        let Self {
            role,
            settings,
            settings_acknowledged,
            peer,
            peer_settings_seen,
            streams,
            closed,
            next_id,
            last_peer_id,
            send,
            receive,
            floods,
            incoming,
            decoder,
            encoder,
            leaving,
            peer_leaves_after,
            failed,
        } = self;
        w.bool(*role == Role::Client);
        settings.write_down(w);
        w.bool(*settings_acknowledged);
        peer.write_down(w);
        w.bool(*peer_settings_seen);
        streams.write_down(w);
        closed.write_down(w);
        w.u32(*next_id);
        w.u32(last_peer_id.value());
        send.write_down(w);
        receive.write_down(w);
        floods.write_down(w);
        incoming.write_down(w);
        decoder.write_down(w);
        w.bool(encoder.table_is_off);
        leaving.write_down(w);
        w.bool(peer_leaves_after.is_some());
        w.u32(peer_leaves_after.map_or(0, StreamId::value));
        w.bool(failed.is_some());
        w.u32(failed.map_or(0, |fault| fault.code.0));
    }

    /// The session as it was. Slots of streams are the ones they had.
    pub fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let session = Self {
            role: if r.bool()? { Role::Client } else { Role::Server },
            settings: Settings::read_back(r)?,
            settings_acknowledged: r.bool()?,
            peer: PeerSettings::read_back(r)?,
            peer_settings_seen: r.bool()?,
            streams: Streams::read_back(r)?,
            closed: ClosedStreams::read_back(r)?,
            next_id: r.u32()?,
            last_peer_id: StreamId::read_back(r)?,
            send: SendWindow::read_back(r)?,
            receive: ReceiveWindow::read_back(r)?,
            floods: Floods::read_back(r)?,
            incoming: Incoming::read_back(r)?,
            decoder: Decoder::read_back(r)?,
            encoder: Encoder { table_is_off: r.bool()? },
            leaving: Leaving::read_back(r)?,
            peer_leaves_after: {
                let (some, last) = (r.bool()?, StreamId::read_back(r)?);
                some.then_some(last)
            },
            failed: {
                let (some, code) = (r.bool()?, ErrorCode(r.u32()?));
                some.then_some(Fault { code, text: "it had failed before it was handed over" })
            },
        };
        session.check()?;
        Ok(session)
    }

    /// What holds between the parts of a session.
    fn check(&self) -> Result<(), ReadError> {
        if self.next_id.is_multiple_of(2) || self.next_id > StreamId::MAX.value() + 2 {
            return Err(ReadError::Invalid("the next stream id"));
        }
        if self.streams.iter().any(|stream| self.is_idle(stream.id) || stream.is_over()) {
            return Err(ReadError::Invalid("an open stream"));
        }
        Ok(())
    }
}

impl Leaving {
    fn write_down(self, w: &mut Writer) {
        let (phase, last) = match self {
            Self::No => (0, 0),
            Self::Announced => (1, 0),
            Self::After(last) => (2, last.value()),
        };
        w.u8(phase);
        w.u32(last);
    }

    fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        match (r.u8()?, StreamId::read_back(r)?) {
            (0, StreamId::CONNECTION) => Ok(Self::No),
            (1, StreamId::CONNECTION) => Ok(Self::Announced),
            (2, last) => Ok(Self::After(last)),
            _ => Err(ReadError::Invalid("a GOAWAY")),
        }
    }
}
