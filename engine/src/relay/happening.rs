//! What a session tells besides bytes, kept until the bytes before it are delivered.

use crate::hbone::{ErrorCode, Event, NO_SLOT, StreamId};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Response { stream: StreamId, slot: u32, status: u16 },
    End { stream: StreamId, slot: u32 },
    Reset { stream: StreamId, slot: u32, code: ErrorCode, unprocessed: bool },
    Window,
    Pong,
    GoAway,
}

impl Happening {
    /// Keeps what concerns a relay or the whole tunnel; streams without a relay have nobody to tell.
    pub(crate) fn of(event: Event<'_>) -> Option<Self> {
        let happening = match event {
            Event::Response { stream, slot, status, end, .. } if slot != NO_SLOT => {
                // A CONNECT answered with END_STREAM was refused, whatever the status says.
                let status = if end && status == 200 { 502 } else { status };
                Self::Response { stream, slot, status }
            }
            Event::End { stream, slot } if slot != NO_SLOT => Self::End { stream, slot },
            Event::Reset { stream, slot, code, refused, .. } if slot != NO_SLOT => {
                Self::Reset { stream, slot, code, unprocessed: refused }
            }
            Event::Window { .. } | Event::Settings => Self::Window,
            Event::Pong { .. } => Self::Pong,
            Event::GoAway { .. } => Self::GoAway,
            _ => return None,
        };
        Some(happening)
    }
}
