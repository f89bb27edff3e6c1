//! How far the frame that is being received has come.

use super::Step;
use super::headers::prefix_bytes;
use crate::handover::{ReadError, Reader, Writer};
use crate::hbone::frame::{HEAD_BYTES, Head, Kind, PREFACE};
use crate::hbone::limits::HEADER_BLOCK_KEPT_BYTES_MAX;
use crate::hbone::session::Role;
use crate::hbone::settings::{Announced, PARAMETER_BYTES};
use crate::hbone::stream::StreamId;

/// The frame that is being received.
#[derive(Debug)]
pub(in crate::hbone) struct Incoming {
    pub(super) phase: Phase,
    pub(super) head: Head,
    /// Bytes of the payload that have not been used, padding included.
    pub(super) left: u32,
    /// Those of them that are padding, once that is known.
    pub(super) padding: u8,
    /// Some of the payload was content.
    pub(super) had_content: bool,
    /// The octets in front of the content are still to come: padding length, priority.
    pub(super) prefix_due: bool,
    /// The payload is of no interest.
    pub(super) skipping: bool,
    /// Begin of something that needs several bytes at a time.
    partial: [u8; HEAD_BYTES],
    partial_len: u8,
    pub(super) block: Block,
    pub(super) announced: Announced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client preface, of which so many bytes were right.
    Preface {
        matched: u8,
    },
    Head,
    Payload,
}

/// A header block that is being gathered (RFC 9113 §4.3).
#[derive(Debug, Default)]
pub(super) struct Block {
    stream: Option<StreamId>,
    pub(super) bytes: Vec<u8>,
    /// HEADERS had END_STREAM.
    pub(super) end: bool,
    /// HEADERS made its stream depend on itself.
    pub(super) self_dependent: bool,
    pub(super) continuations: u32,
}

// === impl Incoming ===

impl Incoming {
    pub(in crate::hbone) fn new(role: Role) -> Self {
        Self {
            phase: match role {
                Role::Client => Phase::Head,
                Role::Server => Phase::Preface { matched: 0 },
            },
            head: Head::new(Kind::Data, 0, StreamId::CONNECTION, 0),
            left: 0,
            padding: 0,
            had_content: false,
            prefix_due: false,
            skipping: false,
            partial: [0; HEAD_BYTES],
            partial_len: 0,
            block: Block::default(),
            announced: Announced::default(),
        }
    }

    pub(super) fn begin(&mut self, head: Head) {
        debug_assert_eq!(self.partial_len, 0);
        self.phase = Phase::Payload;
        self.head = head;
        self.left = head.length;
        self.padding = 0;
        self.had_content = false;
        self.prefix_due = false;
        self.skipping = false;
    }

    pub(super) fn finish(&mut self) {
        debug_assert_eq!(self.left, 0);
        self.phase = Phase::Head;
    }

    /// The next `N` bytes, once they are all there.
    pub(super) fn fill<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        if self.partial_len == 0
            && let Some((whole, rest)) = input.split_first_chunk::<N>()
        {
            *input = rest;
            return Some(*whole);
        }
        let have = usize::from(self.partial_len);
        let (taken, rest) = input.split_at(input.len().min(N - have));
        self.partial[have..have + taken.len()].copy_from_slice(taken);
        *input = rest;
        self.partial_len += taken.len() as u8;
        if usize::from(self.partial_len) < N {
            return None;
        }
        self.partial_len = 0;
        self.partial.first_chunk().copied()
    }

    /// As [`Self::fill`], out of the payload.
    pub(super) fn payload<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        let bytes = self.fill::<N>(input)?;
        debug_assert!(self.left as usize >= N);
        self.left -= N as u32;
        Some(bytes)
    }

    /// Content that has arrived, without prefix and padding.
    pub(super) fn content<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        debug_assert!(!self.prefix_due);
        let content = self.content_left() as usize;
        let (taken, rest) = input.split_at(input.len().min(content));
        *input = rest;
        self.left -= taken.len() as u32;
        self.had_content |= !taken.is_empty();
        taken
    }

    pub(super) fn content_left(&self) -> u32 {
        self.left - u32::from(self.padding)
    }

    /// Padding that has arrived, or whatever else is left. Comes after the content.
    pub(super) fn rest(&mut self, input: &mut &[u8]) -> usize {
        let taken = input.len().min(self.left as usize);
        *input = &input[taken..];
        self.left -= taken as u32;
        self.padding = self.padding.min(self.left.min(255) as u8);
        taken
    }

    pub(super) fn skip<'i>(&mut self, input: &mut &[u8]) -> Step<'i> {
        self.rest(input);
        if self.left > 0 {
            return Step::Starved;
        }
        self.finish();
        Step::Continue
    }

    pub(in crate::hbone) fn write_down(&self, w: &mut Writer) {
        let Self {
            phase,
            head,
            left,
            padding,
            had_content,
            prefix_due,
            skipping,
            partial,
            partial_len,
            block,
            announced,
        } = self;
        let (phase, matched) = match phase {
            Phase::Preface { matched } => (0, *matched),
            Phase::Head => (1, 0),
            Phase::Payload => (2, 0),
        };
        w.u8(phase);
        w.u8(matched);
        head.write_down(w);
        w.u32(*left);
        w.u8(*padding);
        w.bool(*had_content);
        w.bool(*prefix_due);
        w.bool(*skipping);
        w.bytes(&partial[..usize::from(*partial_len)]);
        block.write_down(w);
        announced.write_down(w);
    }

    pub(in crate::hbone) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let phase = match (r.u8()?, r.u8()?) {
            (0, matched) if usize::from(matched) < PREFACE.len() => Phase::Preface { matched },
            (1, 0) => Phase::Head,
            (2, 0) => Phase::Payload,
            _ => return Err(ReadError::Invalid("the phase of a frame")),
        };
        let mut read = Self::new(Role::Client);
        read.phase = phase;
        read.head = Head::read_back(r)?;
        read.left = r.u32()?;
        read.padding = r.u8()?;
        read.had_content = r.bool()?;
        read.prefix_due = r.bool()?;
        read.skipping = r.bool()?;
        let partial = r.bytes()?;
        if !read.is_possible(partial.len()) {
            return Err(ReadError::Invalid("the position in a frame"));
        }
        read.partial[..partial.len()].copy_from_slice(partial);
        read.partial_len = partial.len() as u8;
        read.block = Block::read_back(r)?;
        read.announced = Announced::read_back(r)?;
        Ok(read)
    }

    /// Bytes that are needed at once at this point. A written form that had as many already would be wrong.
    fn needed(&self) -> u32 {
        let Phase::Payload = self.phase else {
            return if self.phase == Phase::Head { HEAD_BYTES as u32 } else { 1 };
        };
        match self.head.kind {
            _ if self.skipping => 1,
            Kind::Settings => PARAMETER_BYTES as u32,
            Kind::Ping | Kind::Goaway => 8,
            Kind::Priority => 5,
            Kind::ResetStream | Kind::WindowUpdate => 4,
            Kind::Headers if self.prefix_due => prefix_bytes(self.head),
            _ => 1,
        }
    }

    /// What holds between the fields of a frame that has begun.
    fn is_possible(&self, partial: usize) -> bool {
        let needed = self.needed();
        let fits = match (self.phase, self.head.kind) {
            (Phase::Payload, Kind::Settings) => self.left.is_multiple_of(needed),
            (Phase::Payload, Kind::PushPromise) => false,
            (Phase::Payload, _) => needed == 1 || self.left >= needed,
            _ => true,
        };
        let content = self.prefix_due || u32::from(self.padding) <= self.left;
        fits && content && partial < needed as usize && self.left <= self.head.length
    }
}

// === impl Block ===

impl Block {
    /// The stream whose block is not complete.
    pub(super) fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    pub(super) fn begin(&mut self, stream: StreamId, end: bool) {
        debug_assert!(self.bytes.is_empty());
        self.stream = Some(stream);
        self.end = end;
        self.self_dependent = false;
        self.continuations = 0;
    }

    /// The block is complete and has been used.
    pub(super) fn finish(&mut self) {
        self.stream = None;
        self.bytes.clear();
        if self.bytes.capacity() > HEADER_BLOCK_KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }

    fn write_down(&self, w: &mut Writer) {
        let Self { stream, bytes, end, self_dependent, continuations } = self;
        w.u32(stream.map_or(0, StreamId::value));
        w.bytes(bytes);
        w.bool(*end);
        w.bool(*self_dependent);
        w.u32(*continuations);
    }

    fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let stream = StreamId::read_back(r)?;
        let read = Self {
            stream: (stream != StreamId::CONNECTION).then_some(stream),
            bytes: r.bytes()?.to_vec(),
            end: r.bool()?,
            self_dependent: r.bool()?,
            continuations: r.u32()?,
        };
        if read.stream.is_none() && !read.bytes.is_empty() {
            return Err(ReadError::Invalid("a header block"));
        }
        Ok(read)
    }
}
