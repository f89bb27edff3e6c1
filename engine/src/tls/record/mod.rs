//! Records after the handshake (RFC 8446 §5): one half that seals and one that opens, each with its own key.
//!
//! ```text
//! | header: 5 | plain bytes: up to 16,384 | type: 1 | tag: 16 |
//!  23 3 3 len   sealed in place ...........................
//! ```

mod error;
mod keys;
mod opener;
mod outgoing;
mod post_handshake;
mod sealer;

pub use error::RecordError;
pub use opener::{Opened, RecordOpener};
pub use outgoing::{RecordBuffer, Records};
pub use sealer::RecordSealer;

pub(super) const HEADER_BYTES: usize = 5;
/// What sealing adds behind the plain bytes: the type of the content and the tag.
const TRAILER_BYTES: usize = 1 + 16;

/// What a record adds to the plain bytes it carries.
pub const RECORD_OVERHEAD_BYTES: usize = HEADER_BYTES + TRAILER_BYTES;

/// Types of content (RFC 8446 §5.1).
pub(super) mod content {
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

/// The header of a sealed record that carries `plain` bytes (RFC 8446 §5.2).
fn header(plain: usize) -> [u8; HEADER_BYTES] {
    let length = (plain + TRAILER_BYTES) as u16;
    let [high, low] = length.to_be_bytes();
    [content::APPLICATION_DATA, 3, 3, high, low]
}

/// Length of what follows a header.
pub(super) fn data_len(header: &[u8; HEADER_BYTES]) -> usize {
    usize::from(u16::from_be_bytes([header[3], header[4]]))
}
