//! The application at the far end: takes what arrives, cut anywhere, into a buffer of its own.

use crate::{LARGE_FRAME_BYTES, application_bytes};

#[derive(Debug)]
pub(crate) struct Receiver {
    buffer: Vec<u8>,
    expected: Vec<u8>,
    /// How long what it waits for is.
    length: usize,
    filled: usize,
    complete: usize,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        let expected = application_bytes();
        Self { buffer: vec![0; LARGE_FRAME_BYTES], expected, length: 0, filled: 0, complete: 0 }
    }

    /// Waits for pieces of `length` bytes from now on.
    pub(crate) fn wait_for(&mut self, length: usize) {
        assert_eq!(self.filled, 0, "what it waited for before has come as a whole");
        self.length = length;
        self.complete = 0;
    }

    /// How many of them have come as a whole.
    pub(crate) fn complete(&self) -> usize {
        self.complete
    }

    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.length - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == self.length {
                // Compared in full only where nothing is measured.
                debug_assert_eq!(self.buffer[..self.length], self.expected[..self.length]);
                self.filled = 0;
                self.complete += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cut_anywhere_are_counted_when_they_are_whole() {
        let sent =
            [&application_bytes()[..100], &application_bytes()[..100], &application_bytes()[..100]].concat();
        for cut in [1, 7, 99, 100, 101, 300] {
            let mut receiver = Receiver::new();
            receiver.wait_for(100);
            for piece in sent.chunks(cut) {
                receiver.take(piece);
            }
            assert_eq!(receiver.complete(), 3, "cut by {cut}");
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "left == right")]
    fn a_wrong_byte_is_found() {
        let mut receiver = Receiver::new();
        receiver.wait_for(4);
        receiver.take(&[0, 1, 9, 3]);
    }
}
