//! What a session tells besides bytes, kept until the bytes before it are delivered.

use crate::hbone::{ErrorCode, Event, NO_SLOT};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Response { slot: u32, status: u16 },
    End { slot: u32 },
    Reset { slot: u32, code: ErrorCode, unprocessed: bool },
    Window,
    Pong,
}

impl Happening {
    /// Keeps what concerns a relay or the whole tunnel; streams without a relay have nobody to tell.
    pub(crate) fn of(event: Event<'_>) -> Option<Self> {
        let happening = match event {
            Event::Response { slot, status, end, .. } if slot != NO_SLOT => {
                // A CONNECT answered with END_STREAM was refused, whatever the status says.
                let status = if end && status == 200 { 502 } else { status };
                Self::Response { slot, status }
            }
            Event::End { slot, .. } if slot != NO_SLOT => Self::End { slot },
            Event::Reset { slot, code, refused, .. } if slot != NO_SLOT => {
                Self::Reset { slot, code, unprocessed: refused }
            }
            Event::Window { .. } | Event::Settings => Self::Window,
            Event::Pong { .. } => Self::Pong,
            _ => return None,
        };
        Some(happening)
    }
}
