//! Writing a connection down and reading it back.
//!
//! Everything a live connection needs is plain data; each part that owns some writes its fields with [`Writer`], in
//! order, and reads them in the same order with [`Reader`]. Integers are little-endian, byte strings carry a `u32`
//! length. The format has no field names: whoever writes a record of it puts a version number first.

use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Collects the fields of a connection.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// Gives the fields back, in the order they were written.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// The written form is damaged or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("the written connection ends in the middle of a field")]
    Truncated,
    #[error("the written connection holds an impossible value for {0}")]
    Invalid(&'static str),
}

// === impl Writer ===

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A byte string of at most `u32::MAX` bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        debug_assert!(u32::try_from(value.len()).is_ok());
        self.u32(value.len() as u32);
        self.bytes.extend_from_slice(value);
    }

    /// What was written. Secrets are among it: it is wiped when it is dropped.
    pub fn finish(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut self.bytes))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn u8(&mut self) -> Result<u8, ReadError> {
        let [value] = self.array()?;
        Ok(value)
    }

    pub fn bool(&mut self) -> Result<bool, ReadError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ReadError::Invalid("a yes or no")),
        }
    }

    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, ReadError> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = self.u32()? as usize;
        let (value, rest) = self.bytes.split_at_checked(length).ok_or(ReadError::Truncated)?;
        self.bytes = rest;
        Ok(value)
    }

    /// Says so if something is left over, which means that writer and reader disagree.
    pub fn finish(self) -> Result<(), ReadError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(ReadError::Invalid("the end")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (value, rest) = self.bytes.split_first_chunk().ok_or(ReadError::Truncated)?;
        self.bytes = rest;
        Ok(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_no_prefix_of_it() {
        let mut writer = Writer::default();
        writer.u8(7);
        writer.bool(true);
        writer.u32(70_000);
        writer.u64(1 << 40);
        writer.i64(-5);
        writer.bytes(b"bytes");
        let written = writer.finish();

        let read = |bytes: &[u8]| -> Result<_, ReadError> {
            let mut reader = Reader::new(bytes);
            let fields = (
                reader.u8()?,
                reader.bool()?,
                reader.u32()?,
                reader.u64()?,
                reader.i64()?,
                reader.bytes()?.to_vec(),
            );
            reader.finish()?;
            Ok(fields)
        };
        assert_eq!(read(&written), Ok((7, true, 70_000, 1 << 40, -5, b"bytes".to_vec())));
        for length in 0..written.len() {
            assert_eq!(read(&written[..length]), Err(ReadError::Truncated));
        }
    }
}
