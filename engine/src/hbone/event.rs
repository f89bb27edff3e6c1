//! What a session tells its caller.

use super::error::ErrorCode;
use super::stream::StreamId;

/// What happened next on a session. `slot` is what [`super::Session::set_slot`] gave the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// The peer opened a stream. Answer with [`super::Session::respond`]: 400 if the method is not CONNECT.
    /// `end`: nothing more comes on this stream, and no [`Event::End`] follows.
    Request { stream: StreamId, request: Box<Request>, end: bool },
    /// The answer to a stream of ours. `end` as above.
    Response { stream: StreamId, slot: u32, status: u16, headers: Headers, end: bool },
    /// Bytes of a stream, as they arrived. Each has to be given back by [`super::Session::release`] some time.
    Data { stream: StreamId, slot: u32, bytes: &'i [u8] },
    /// The peer sends nothing more on this stream.
    End { stream: StreamId, slot: u32 },
    /// The stream is gone, both ways.
    Reset {
        stream: StreamId,
        slot: u32,
        code: ErrorCode,
        /// The peer says that it did nothing with this stream: another tunnel may try again.
        refused: bool,
        /// False where we reset it, since the peer broke the rules on it.
        by_peer: bool,
    },
    /// More can be sent on the stream of this slot; `None`: the window of the whole connection grew. Streams without a
    /// slot have no such event.
    Window { slot: Option<u32> },
    /// The peer's SETTINGS took effect: capacity, frame size and every stream's window may have changed.
    Settings,
    /// The peer takes no more streams. Those above `last` follow as [`Event::Reset`] with `refused`.
    GoAway { last: StreamId, code: ErrorCode },
    /// The peer answered a PING of ours.
    Pong { payload: u64 },
}

/// The header section of a stream the peer opened.
///
/// The header names are lower case; of the three that every HBONE peer sends, repeated ones are joined by commas
/// (RFC 9110 §5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Empty only where the method is not CONNECT.
    pub authority: String,
    pub baggage: Option<String>,
    pub forwarded: Option<String>,
    pub traceparent: Option<String>,
    /// Every other header.
    pub headers: Headers,
}

/// Headers in the order they came. Values that are not UTF-8 have replacement characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<(String, String)>,
}

// === impl Headers ===

impl Headers {
    /// The first value of a header. Names are lower case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn push(&mut self, name: String, value: String) {
        self.list.push((name, value));
    }

    /// Takes every value of a header out, joined by commas.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let mut joined: Option<String> = None;
        self.list.retain_mut(|(candidate, value)| {
            if candidate != name {
                return true;
            }
            match &mut joined {
                None => joined = Some(std::mem::take(value)),
                Some(joined) => {
                    joined.push(',');
                    joined.push_str(value);
                }
            }
            false
        });
        joined
    }
}
