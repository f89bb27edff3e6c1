//! Streams that are over, as far as late frames on them have to be told apart.
//!
//! A peer goes on sending on a stream until our RST_STREAM has reached it; RFC 9113 §5.1 ("closed") has us take those
//! frames and discard them. Frames on a stream that ended by the peer's own word are the peer's mistake, also where that
//! word came after our RST_STREAM.

use std::collections::VecDeque;

use super::limits::{ENDED_STREAMS_REMEMBERED_MAX, RESET_STREAMS_REMEMBERED_MAX};
use super::stream::StreamId;
use crate::handover::{ReadError, Reader, Writer};

/// The streams that were closed last.
#[derive(Debug, Default)]
pub(super) struct ClosedStreams {
    /// Reset by us, with the bytes the peer may still have sent before it knew.
    reset: VecDeque<(StreamId, u32)>,
    /// Ended by the peer, or by both sides.
    ended: VecDeque<(StreamId, Ending)>,
}

/// How a stream came to its end, where it was not we who reset it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// END_STREAM both ways.
    Finished,
    /// RST_STREAM of the peer.
    ResetByPeer,
}

/// What we know about a stream that is not open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Past<'a> {
    /// Reset by us: late frames are fine as long as the bytes of DATA keep within what is left.
    ResetByUs {
        bytes_left: &'a mut u32,
    },
    Ended(Ending),
    /// Never opened, or closed too long ago.
    Forgotten,
}

// === impl ClosedStreams ===

impl ClosedStreams {
    pub(super) fn was_reset(&mut self, id: StreamId, bytes_left: u32) {
        if self.reset.len() == RESET_STREAMS_REMEMBERED_MAX {
            self.reset.pop_front();
        }
        self.reset.push_back((id, bytes_left));
    }

    pub(super) fn has_ended(&mut self, id: StreamId, ending: Ending) {
        if self.ended.len() == ENDED_STREAMS_REMEMBERED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((id, ending));
    }

    /// END_STREAM or RST_STREAM of the peer came on a stream that may be one we reset: it was the last that was on its way.
    pub(super) fn has_ended_late(&mut self, id: StreamId, ending: Ending) {
        if let Some(place) = self.reset.iter().rposition(|(reset, _)| *reset == id) {
            self.reset.remove(place);
            self.has_ended(id, ending);
        }
    }

    /// Both lists are short and this is asked for stray frames only; the newest are looked at first.
    pub(super) fn recall(&mut self, id: StreamId) -> Past<'_> {
        if let Some((_, bytes_left)) = self.reset.iter_mut().rev().find(|(reset, _)| *reset == id) {
            return Past::ResetByUs { bytes_left };
        }
        match self.ended.iter().rev().find(|(ended, _)| *ended == id) {
            Some((_, ending)) => Past::Ended(*ending),
            None => Past::Forgotten,
        }
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { reset, ended } = self;
        w.u32(reset.len() as u32);
        for (id, bytes_left) in reset {
            w.u32(id.value());
            w.u32(*bytes_left);
        }
        w.u32(ended.len() as u32);
        for (id, ending) in ended {
            w.u32(id.value());
            w.bool(*ending == Ending::ResetByPeer);
        }
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut closed = Self::default();
        for _ in 0..r.u32()? {
            closed.was_reset(StreamId::read_back(r)?, r.u32()?);
        }
        for _ in 0..r.u32()? {
            let id = StreamId::read_back(r)?;
            closed.has_ended(id, if r.bool()? { Ending::ResetByPeer } else { Ending::Finished });
        }
        Ok(closed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn remembers_the_last_ones_of_each_sort() {
        let id = |value: usize| StreamId::from_bits(value as u32);
        let mut closed = ClosedStreams::default();
        for value in 0..=RESET_STREAMS_REMEMBERED_MAX {
            closed.was_reset(id(value), 7);
        }
        closed.has_ended(id(1_000), Ending::Finished);
        closed.has_ended(id(1_001), Ending::ResetByPeer);

        assert_eq!(closed.recall(id(0)), Past::Forgotten);
        assert_eq!(closed.recall(id(1)), Past::ResetByUs { bytes_left: &mut 7 });
        assert_eq!(closed.recall(id(1_000)), Past::Ended(Ending::Finished));
        assert_eq!(closed.recall(id(1_001)), Past::Ended(Ending::ResetByPeer));
        closed.has_ended_late(id(1), Ending::ResetByPeer);
        assert_eq!(closed.recall(id(1)), Past::Ended(Ending::ResetByPeer));
        closed.has_ended_late(id(1_000), Ending::ResetByPeer);
        assert_eq!(closed.recall(id(1_000)), Past::Ended(Ending::Finished), "what had ended stays so");
        for value in 0..ENDED_STREAMS_REMEMBERED_MAX {
            closed.has_ended(id(2_000 + value), Ending::Finished);
        }
        assert_eq!(closed.recall(id(1_001)), Past::Forgotten);
    }
}
