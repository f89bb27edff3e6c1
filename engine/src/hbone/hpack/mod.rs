//! HPACK (RFC 7541): a full decoder, and an encoder that needs no state of the peer's.
//!
//! The decoder cannot do with less: ztunnel refers to dynamic table entries in its first requests, before it has read
//! any SETTINGS of ours that would forbid it. The encoder uses literals and the static table only, so that an idle
//! tunnel holds no table of ours and a written-down session has none to carry.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;

pub use decoder::Decoder;
pub use encoder::Encoder;
use thiserror::Error;

/// A header block that cannot be decoded: a connection error COMPRESSION_ERROR (RFC 9113 §4.3), since the dynamic
/// tables of the two ends differ from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", self.text())]
pub enum HpackError {
    Truncated,
    IntegerTooLarge,
    NoSuchEntry,
    Huffman,
    LateSizeUpdate,
    SizeUpdateTooLarge,
}

impl HpackError {
    /// The reason as a text that needs no allocation.
    pub fn text(self) -> &'static str {
        match self {
            Self::Truncated => "a header block ends in the middle of a field",
            Self::IntegerTooLarge => "an integer of a header block is too large",
            Self::NoSuchEntry => "a header field refers to no entry of the tables",
            Self::Huffman => "a Huffman string is damaged",
            Self::LateSizeUpdate => "a dynamic table size update comes after a field",
            Self::SizeUpdateTooLarge => "a dynamic table size update is above what was announced",
        }
    }
}
