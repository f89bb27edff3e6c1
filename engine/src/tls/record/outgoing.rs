//! Where records are written before they are sent.

use std::ops::{Deref, DerefMut, Range};

/// Where records are written: bytes that grow at their end.
pub trait RecordBuffer: DerefMut<Target = [u8]> {
    fn append(&mut self, bytes: &[u8]);

    /// Grows by so many bytes of any content, which the caller overwrites.
    fn grow(&mut self, bytes: usize);
}

/// Memory for records that is used again and again. It is zeroed when it is first grown into, not before every record.
#[derive(Debug, Default)]
pub struct Records {
    memory: Vec<u8>,
    len: usize,
}

// === impl Records ===

impl Records {
    pub fn with_capacity(bytes: usize) -> Self {
        Self::over(Vec::with_capacity(bytes))
    }

    /// No records yet, in memory that has held some: what [`Self::into_parts`] gave.
    pub fn over(memory: Vec<u8>) -> Self {
        Self { memory, len: 0 }
    }

    /// The memory, and where in it the records are.
    pub fn into_parts(self) -> (Vec<u8>, Range<usize>) {
        (self.memory, 0..self.len)
    }

    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl RecordBuffer for Records {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        let from = self.len;
        self.grow(bytes.len());
        self[from..].copy_from_slice(bytes);
    }

    #[inline]
    fn grow(&mut self, bytes: usize) {
        self.len += bytes;
        if self.len > self.memory.len() {
            self.memory.resize(self.len, 0);
        }
    }
}

impl Deref for Records {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Records {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

impl RecordBuffer for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn grow(&mut self, bytes: usize) {
        self.resize(self.len() + bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let mut records = Records::with_capacity(100);
        records.append(b"abc");
        records.grow(2);
        records[4] = 7;
        assert_eq!(&*records, b"abc\0\x07");
        records.clear();
        assert!(records.is_empty());
        records.append(b"xy");
        let (memory, range) = records.into_parts();
        assert_eq!((&memory[range], memory.len()), (b"xy".as_slice(), 5));
        let mut again = Records::over(memory);
        again.append(b"longer than before");
        assert_eq!(&*again, b"longer than before");
    }
}
