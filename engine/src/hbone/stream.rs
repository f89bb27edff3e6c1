//! Streams: their ids, their state, and the table they are found in.

use super::flow::{ReceiveWindow, SendWindow};
use super::limits::WINDOW_BYTES_MAX;
use crate::handover::{ReadError, Reader, Writer};

/// The number of a stream (RFC 9113 §5.1.1); 0 is the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

/// The slot of a stream that the caller gave none.
pub const NO_SLOT: u32 = u32::MAX;

/// An open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// The caller's index, or [`NO_SLOT`].
    pub(super) slot: u32,
    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
    /// A CONNECT that was not refused: its DATA is a tunnel, and there are no trailers.
    pub(super) tunnel: bool,
    /// The final response was sent or received.
    pub(super) answered: bool,
    /// We sent END_STREAM.
    pub(super) local_ended: bool,
    /// The peer sent END_STREAM.
    pub(super) remote_ended: bool,
    /// Bytes that the content-length of a request leaves, or [`BODY_UNKNOWN`].
    pub(super) body_left: u64,
}

/// No content-length was given, or none that binds.
pub(super) const BODY_UNKNOWN: u64 = u64::MAX;

/// The open streams, in order of their ids.
///
/// Ids only grow, so a new stream goes to the end and finding one is a binary search over eight bytes each; the
/// streams themselves do not move.
#[derive(Debug, Default)]
pub(super) struct Streams {
    order: Vec<(StreamId, u32)>,
    places: Vec<Stream>,
    free: Vec<u32>,
}

// === impl StreamId ===

impl StreamId {
    /// What concerns the connection as a whole.
    pub const CONNECTION: Self = Self(0);
    /// The largest id there is.
    pub const MAX: Self = Self(WINDOW_BYTES_MAX);

    /// The lower 31 bits of what a frame carries.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & Self::MAX.0)
    }

    pub fn value(self) -> u32 {
        self.0
    }

    /// Odd ids are streams of the client (RFC 9113 §5.1.1).
    pub(super) fn is_clients(self) -> bool {
        self.0 % 2 == 1
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let value = r.u32()?;
        if value > Self::MAX.0 { Err(ReadError::Invalid("a stream id")) } else { Ok(Self(value)) }
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(id: StreamId, send: SendWindow, receive: ReceiveWindow) -> Self {
        Self {
            id,
            slot: NO_SLOT,
            send,
            receive,
            tunnel: false,
            answered: false,
            local_ended: false,
            remote_ended: false,
            body_left: BODY_UNKNOWN,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.local_ended && self.remote_ended
    }

    /// A request that has its whole response, and has not come to its own end.
    pub(super) fn is_answered_in_full(&self) -> bool {
        self.answered && self.local_ended && !self.tunnel && !self.remote_ended
    }

    fn write_down(&self, w: &mut Writer) {
        let Self { id, slot, send, receive, tunnel, answered, local_ended, remote_ended, body_left } = self;
        w.u32(id.value());
        w.u32(*slot);
        send.write_down(w);
        receive.write_down(w);
        for flag in [tunnel, answered, local_ended, remote_ended] {
            w.bool(*flag);
        }
        w.u64(*body_left);
    }

    fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        Ok(Self {
            id: StreamId::read_back(r)?,
            slot: r.u32()?,
            send: SendWindow::read_back(r)?,
            receive: ReceiveWindow::read_back(r)?,
            tunnel: r.bool()?,
            answered: r.bool()?,
            local_ended: r.bool()?,
            remote_ended: r.bool()?,
            body_left: r.u64()?,
        })
    }
}

// === impl Streams ===

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn find(&self, id: StreamId) -> Option<&Stream> {
        let position = self.position(id)?;
        Some(&self.places[self.order[position].1 as usize])
    }

    pub(super) fn find_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let position = self.position(id)?;
        Some(&mut self.places[self.order[position].1 as usize])
    }

    /// Adds a stream, whose id is above every one before it.
    pub(super) fn push(&mut self, stream: Stream) {
        debug_assert!(self.last().is_none_or(|last| last < stream.id));
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = stream;
                place
            }
            None => {
                self.places.push(stream);
                self.places.len() as u32 - 1
            }
        };
        self.order.push((stream.id, place));
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let position = self.position(id)?;
        let (_, place) = self.order.remove(position);
        self.free.push(place);
        Some(self.places[place as usize])
    }

    /// The youngest open stream.
    pub(super) fn last(&self) -> Option<StreamId> {
        self.order.last().map(|(id, _)| *id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.order.iter().map(|(_, place)| &self.places[*place as usize])
    }

    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut Stream)) {
        for (_, place) in &self.order {
            change(&mut self.places[*place as usize]);
        }
    }

    fn position(&self, id: StreamId) -> Option<usize> {
        // Traffic goes mostly to the youngest, or to the only stream.
        match self.order.last() {
            Some((last, _)) if *last == id => Some(self.order.len() - 1),
            _ => self.order.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        w.u32(self.len() as u32);
        self.iter().for_each(|stream| stream.write_down(w));
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut streams = Self::default();
        for _ in 0..r.u32()? {
            let stream = Stream::read_back(r)?;
            if streams.last().is_some_and(|last| last >= stream.id) {
                return Err(ReadError::Invalid("the order of streams"));
            }
            streams.push(stream);
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stream(id: u32) -> Stream {
        Stream::new(StreamId::from_bits(id), SendWindow::new(id), ReceiveWindow::new(id))
    }

    fn ids(streams: &Streams) -> Vec<u32> {
        streams.iter().map(|stream| stream.id.value()).collect()
    }

    #[test]
    fn finds_what_is_there_and_reuses_places() {
        let mut streams = Streams::default();
        for id in [1, 3, 7, 9] {
            streams.push(stream(id));
        }
        assert_eq!(streams.remove(StreamId(3)).map(|stream| stream.id), Some(StreamId(3)));
        assert_eq!(streams.remove(StreamId(3)), None);
        streams.push(stream(11));
        assert_eq!(ids(&streams), [1, 7, 9, 11]);
        assert_eq!(streams.places.len(), 4, "the place of stream 3 is used again");
        for id in [1, 7, 9, 11] {
            assert_eq!(streams.find(StreamId(id)), Some(&stream(id)));
        }
        for id in [0, 3, 5, 13] {
            assert_eq!(streams.find(StreamId(id)), None);
        }
    }

    #[test]
    fn written_down_streams_come_back_and_disorder_does_not() {
        let mut streams = Streams::default();
        streams.push(stream(5));
        streams.push(stream(9));
        let mut w = Writer::default();
        streams.write_down(&mut w);
        let mut bytes = w.finish();
        let read = Streams::read_back(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(ids(&read), [5, 9]);

        bytes[4] = 9;
        assert!(Streams::read_back(&mut Reader::new(&bytes)).is_err());
    }
}
