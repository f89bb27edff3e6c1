//! Encryption and the four copies of a proxy pair: what a tunnel without any protocol would cost.

use crate::aead::{Cipher, RECORD_BYTES, TAG_BYTES};
use crate::receiver::Receiver;
use crate::wire::Wire;
use crate::{MESSAGE_BYTES, Step, TURN_BYTES, application_bytes};

pub(crate) struct Copies {
    sealing: Cipher,
    opening: Cipher,
    application: Vec<u8>,
    out: Vec<u8>,
    wire: Wire,
    received: Vec<u8>,
    receiver: Receiver,
}

impl Copies {
    pub(crate) fn new() -> Self {
        Self {
            sealing: Cipher::new(),
            opening: Cipher::new(),
            application: application_bytes(),
            out: Vec::with_capacity(2 * TURN_BYTES),
            wire: Wire::new(),
            received: Vec::with_capacity(2 * TURN_BYTES),
            receiver: Receiver::new(),
        }
    }

    /// From the application into the buffer that is sent.
    fn put(&mut self, bytes: usize) {
        for plain in self.application[..bytes].chunks(RECORD_BYTES) {
            let start = self.out.len();
            self.out.extend_from_slice(plain);
            self.out.extend_from_slice(&[0; TAG_BYTES]);
            self.sealing.seal(&mut self.out[start..]);
        }
    }

    /// Over the wire, and to the application: records of `bytes` cut as `put` cuts them.
    fn deliver(&mut self, bytes: usize) {
        assert_eq!(self.wire.write(&self.out), self.out.len(), "a turn fits into the wire");
        self.out.clear();
        self.received.clear();
        self.wire.drain(&mut self.received);
        let mut rest = &mut self.received[..];
        while !rest.is_empty() {
            let mut left = bytes;
            while left > 0 {
                let plain = left.min(RECORD_BYTES);
                let (record, later) = rest.split_at_mut(plain + TAG_BYTES);
                self.receiver.take(self.opening.open(record));
                rest = later;
                left -= plain;
            }
        }
    }
}

impl Step for Copies {
    fn bulk(&mut self, frame_bytes: usize, frames: usize) {
        self.receiver.wait_for(frame_bytes);
        let mut left = frames;
        while left > 0 {
            let turn = left.min(TURN_BYTES.div_ceil(frame_bytes));
            for _ in 0..turn {
                self.put(frame_bytes);
            }
            self.deliver(frame_bytes);
            left -= turn;
        }
        assert_eq!(self.receiver.complete(), frames);
    }

    fn exchange(&mut self, count: usize) {
        self.receiver.wait_for(MESSAGE_BYTES);
        for _ in 0..2 * count {
            self.put(MESSAGE_BYTES);
            self.deliver(MESSAGE_BYTES);
        }
        assert_eq!(self.receiver.complete(), 2 * count);
    }
}
