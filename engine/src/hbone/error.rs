//! What ends a stream or a session: the error codes of RFC 9113 §7, and [`SessionError`].

use std::fmt;

use thiserror::Error;

/// Why a stream or a session ended (RFC 9113 §7). Unknown codes are carried as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

/// Which peer of ours broke the rules of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client of a tunnel that we serve.
    Downstream,
    /// The server of a tunnel that we opened.
    Upstream,
}

/// The session is over. A GOAWAY with `code` was written; send what is in the sink, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the {side} end of the tunnel broke HTTP/2: {text} ({code})")]
pub struct SessionError {
    pub code: ErrorCode,
    pub side: Side,
    pub text: &'static str,
}

/// A connection error (RFC 9113 §5.4.1), before it is known whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) text: &'static str,
}

// === impl ErrorCode ===

impl ErrorCode {
    pub const NO_ERROR: Self = Self(0x0);
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    pub const INTERNAL_ERROR: Self = Self(0x2);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    pub const STREAM_CLOSED: Self = Self(0x5);
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub const REFUSED_STREAM: Self = Self(0x7);
    pub const CANCEL: Self = Self(0x8);
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    pub const CONNECT_ERROR: Self = Self(0xa);
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        })
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn protocol(text: &'static str) -> Self {
        Self { code: ErrorCode::PROTOCOL_ERROR, text }
    }

    pub(super) fn frame_size(text: &'static str) -> Self {
        Self { code: ErrorCode::FRAME_SIZE_ERROR, text }
    }

    pub(super) fn flow_control(text: &'static str) -> Self {
        Self { code: ErrorCode::FLOW_CONTROL_ERROR, text }
    }

    pub(super) fn calm(text: &'static str) -> Self {
        Self { code: ErrorCode::ENHANCE_YOUR_CALM, text }
    }
}
