//! Header blocks to fields (RFC 7541 §3, §6).

use super::table::DynamicTable;
use super::{HpackError, huffman, integer};
use crate::handover::{ReadError, Reader, Writer};

/// Decodes the header blocks of one peer, in the order they were sent.
///
/// After an error the session is over: what the table holds is not what the peer thinks it holds.
#[derive(Debug, Default)]
pub struct Decoder {
    table: DynamicTable,
}

/// A string that lies in the block, or had to be decoded.
enum Text<'b> {
    Plain(&'b [u8]),
    Decoded(Vec<u8>),
}

// === impl Decoder ===

impl Decoder {
    /// Decodes a whole header block and hands out its fields, name and value, in order.
    ///
    /// What the fields may be is not looked at, only how they are encoded.
    pub fn decode(&mut self, block: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Result<(), HpackError> {
        let mut rest = block;
        let mut is_begin = true;
        while let Some(first) = rest.first() {
            match first {
                // §6.1: indexed field
                0x80.. => {
                    let (name, value) = self.table.field(integer::take(&mut rest, 7)?)?;
                    field(name, value);
                }
                // §6.2.1: literal that enters the table
                0x40.. => {
                    let (name, value) = self.literal(&mut rest, 6)?;
                    field(name.bytes(), value.bytes());
                    self.table.insert(name.bytes(), value.bytes());
                }
                // §6.3: size update
                0x20.. => {
                    // RFC 7541 §4.2: at the beginning of a block only.
                    if !is_begin {
                        return Err(HpackError::LateSizeUpdate);
                    }
                    self.table.resize(integer::take(&mut rest, 5)?)?;
                    continue;
                }
                // §6.2.2, §6.2.3: literal that does not; "never indexed" binds those who forward it.
                _ => {
                    let (name, value) = self.literal(&mut rest, 4)?;
                    field(name.bytes(), value.bytes());
                }
            }
            is_begin = false;
        }
        Ok(())
    }

    fn literal<'b>(&self, rest: &mut &'b [u8], prefix: u32) -> Result<(Text<'b>, Text<'b>), HpackError> {
        let name = match integer::take(rest, prefix)? {
            0 => Text::take(rest)?,
            // Copied, since entering the new field may evict the entry it comes from (RFC 7541 §4.4).
            index => Text::Decoded(self.table.field(index)?.0.to_vec()),
        };
        Ok((name, Text::take(rest)?))
    }

    pub fn write_down(&self, w: &mut Writer) {
        self.table.write_down(w);
    }

    pub fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        Ok(Self { table: DynamicTable::read_back(r)? })
    }
}

// === impl Text ===

impl<'b> Text<'b> {
    /// RFC 7541 §5.2: a string literal.
    fn take(rest: &mut &'b [u8]) -> Result<Self, HpackError> {
        let is_huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = integer::take(rest, 7)?;
        let (text, after) = rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
        *rest = after;
        if !is_huffman {
            return Ok(Self::Plain(text));
        }
        // The shortest code has five bits.
        let mut decoded = Vec::with_capacity(length * 8 / 5);
        huffman::decode(text, &mut decoded)?;
        Ok(Self::Decoded(decoded))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Decoded(bytes) => bytes,
        }
    }
}

#[cfg(test)]
#[path = "decoder/tests.rs"]
mod tests;
