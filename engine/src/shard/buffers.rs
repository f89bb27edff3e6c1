//! Send buffers of a shard, used again and again so that carrying bytes allocates nothing.

use crate::tls::Records;

/// What a large buffer is made with: one tunnel's budget of sealed records, the frame that goes over it, and their
/// overhead.
const LARGE_BYTES: usize = 336 * 1024;

/// A large buffer that grew beyond this is freed instead of kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Large buffers kept for the next sender: 64 cover both directions of the busiest turn measured, and bound what a burst
/// leaves behind.
const KEPT_LARGE_MAX: usize = 64;

/// One link of the queue of what waits for an application.
const LINK_BYTES: usize = 64 * 1024;

/// Links kept for the next reader that is slow: the windows of four streams.
const KEPT_LINKS_MAX: usize = 256;

/// A message or two.
const SMALL_BYTES: usize = 4 * 1024;

/// Small buffers kept for the next message: one for each connection of a busy turn.
const KEPT_SMALL_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    large: Vec<Records>,
    links: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer that holds a whole budget without growing.
    pub(crate) fn large(&mut self) -> Records {
        self.large.pop().unwrap_or_else(|| Records::with_capacity(LARGE_BYTES))
    }

    /// Takes such a buffer back.
    pub(crate) fn recycle_large(&mut self, mut buffer: Records) {
        buffer.clear();
        if (LARGE_BYTES..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && self.large.len() < KEPT_LARGE_MAX {
            self.large.push(buffer);
        }
    }

    /// An empty buffer for so many bytes, or for the first link of them: it need not grow.
    pub(crate) fn link(&mut self, bytes: usize) -> Vec<u8> {
        if bytes > SMALL_BYTES {
            self.links.pop().unwrap_or_else(|| Vec::with_capacity(LINK_BYTES))
        } else {
            self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
        }
    }

    /// Takes a link back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        let (kept, most) = match buffer.capacity() {
            SMALL_BYTES..LINK_BYTES => (&mut self.small, KEPT_SMALL_MAX),
            LINK_BYTES..LARGE_BYTES => (&mut self.links, KEPT_LINKS_MAX),
            _ => return,
        };
        if kept.len() < most {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::RecordBuffer;

    #[test]
    fn gives_back_the_buffer_it_took() {
        let mut buffers = Buffers::default();
        let mut first = buffers.large();
        first.append(b"x");
        let address = first.as_ptr();
        buffers.recycle_large(first);
        let second = buffers.large();
        assert!(second.is_empty());
        assert_eq!(second.as_ptr(), address);
    }
}
