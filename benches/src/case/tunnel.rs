//! Whole exchanges between both ends of a tunnel: the ladder's [`own`](crate::Layer::Own).

use super::Work;
use crate::own::Own;
use crate::{LARGE_FRAME_BYTES, Step};

/// Messages there and back.
pub(super) struct Exchange(Own);

/// Frames to the server.
pub(super) struct Bulk(Own);

impl Exchange {
    pub(super) fn new() -> Self {
        Self(Own::new())
    }
}

impl Work for Exchange {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        self.0.exchange(operations);
    }
}

impl Bulk {
    pub(super) fn new() -> Self {
        Self(Own::new())
    }
}

impl Work for Bulk {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        self.0.bulk(LARGE_FRAME_BYTES, operations);
    }
}
