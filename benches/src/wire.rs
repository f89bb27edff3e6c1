//! One direction of a connection: the stand-in for the kernel, one copy in and one copy out.

/// What a socket buffer would hold.
const WIRE_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
    read: usize,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(WIRE_BYTES), read: 0 }
    }

    /// Takes as many bytes as there is room for; how many.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(WIRE_BYTES - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// Gives as many bytes as there are and fit; how many.
    #[cfg(any(test, feature = "libraries"))]
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        let waiting = &self.bytes[self.read..];
        let count = waiting.len().min(into.len());
        into[..count].copy_from_slice(&waiting[..count]);
        self.skip(count);
        count
    }

    /// Appends all that waits to `into`.
    pub(crate) fn drain(&mut self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.bytes[self.read..]);
        self.skip(self.bytes.len() - self.read);
    }

    /// Room comes back only when all was read: bytes are never moved.
    fn skip(&mut self, count: usize) {
        self.read += count;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_no_more_go_in_than_fit() {
        let mut wire = Wire::new();
        assert_eq!(wire.write(&[1, 2, 3, 4]), 4);
        let mut two = [0; 2];
        assert_eq!((wire.read(&mut two), two), (2, [1, 2]));
        assert_eq!(wire.write(&vec![5; WIRE_BYTES]), WIRE_BYTES - 4);
        assert_eq!(wire.write(&[6]), 0);
        let mut rest = vec![9];
        wire.drain(&mut rest);
        assert_eq!((rest.len(), &rest[..4]), (1 + WIRE_BYTES - 2, &[9, 3, 4, 5][..]));
        assert_eq!((wire.read(&mut two), wire.write(&[6])), (0, 1));
    }
}
