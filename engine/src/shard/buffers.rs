//! Send buffers of a shard, used again and again so that carrying bytes allocates nothing.

/// What a buffer is made with: one tunnel budget of sealed records and a little more.
const BUFFER_BYTES: usize = 288 * 1024;

/// A buffer that grew beyond this is freed instead of kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Buffers kept for the next sender: 64 cover both directions of the busiest turn measured, and bound what a burst
/// leaves behind.
const KEPT_BUFFERS_MAX: usize = 64;

/// Small buffers, for what waits for an application: made for a few messages, grown up to one link of a queue.
const SMALL_BYTES: usize = 4 * 1024;

/// A small buffer that grew beyond one link of a queue is freed instead of kept.
const KEPT_SMALL_BYTES_MAX: usize = 64 * 1024;

/// Small buffers kept for the next message: one for each connection of a busy turn.
const KEPT_SMALL_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    large: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer that holds a whole budget without growing.
    pub(crate) fn large(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// An empty buffer for a message or two; it grows if it must.
    pub(crate) fn small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
    }

    /// An empty buffer with room for so much.
    pub(crate) fn with_room(&mut self, bytes: usize) -> Vec<u8> {
        if bytes <= SMALL_BYTES { self.small() } else { Vec::with_capacity(bytes) }
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        let capacity = buffer.capacity();
        if (BUFFER_BYTES..=KEPT_BYTES_MAX).contains(&capacity) && self.large.len() < KEPT_BUFFERS_MAX {
            self.large.push(buffer);
        } else if (SMALL_BYTES..=KEPT_SMALL_BYTES_MAX).contains(&capacity)
            && self.small.len() < KEPT_SMALL_MAX
        {
            self.small.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_the_buffer_it_took() {
        let mut buffers = Buffers::default();
        let mut first = buffers.large();
        first.push(1);
        let address = first.as_ptr();
        buffers.recycle(first);
        let second = buffers.large();
        assert!(second.is_empty());
        assert_eq!(second.as_ptr(), address);
    }
}
