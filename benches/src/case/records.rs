//! Records alone: one end seals, or one end opens.

use engine::tls::{Opened, RECORD_OVERHEAD_BYTES, RecordOpener, RecordSealer, Records};

use super::Work;
use crate::application_bytes;
use crate::direction;

/// Seals the same bytes into one record again and again.
pub(super) struct Seal {
    sealer: RecordSealer,
    plain: Vec<u8>,
    out: Records,
}

impl Seal {
    pub(super) fn new(plain_bytes: usize) -> Self {
        let mut plain = application_bytes();
        plain.truncate(plain_bytes);
        let (sealer, _) = direction::open(1);
        Self { sealer, plain, out: Records::with_capacity(plain_bytes + RECORD_OVERHEAD_BYTES) }
    }
}

impl Work for Seal {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            self.out.clear();
            self.sealer.put(&mut self.out, &self.plain);
            self.sealer.flush(&mut self.out);
        }
        assert_eq!(self.out.len(), self.plain.len() + RECORD_OVERHEAD_BYTES, "one record each");
    }
}

/// Opens records that were sealed before.
pub(super) struct Open {
    sealer: RecordSealer,
    opener: RecordOpener,
    plain: Vec<u8>,
    records: Vec<u8>,
}

impl Open {
    pub(super) fn new(plain_bytes: usize) -> Self {
        let mut plain = application_bytes();
        plain.truncate(plain_bytes);
        let (sealer, opener) = direction::open(1);
        Self { sealer, opener, plain, records: Vec::new() }
    }
}

impl Work for Open {
    fn prepare(&mut self, operations: usize) {
        self.records.clear();
        for _ in 0..operations {
            self.sealer.put(&mut self.records, &self.plain);
            self.sealer.flush(&mut self.records);
        }
    }

    fn run(&mut self, operations: usize) {
        let mut rest = &mut self.records[..];
        for _ in 0..operations {
            let length = RecordOpener::record_len(rest).ok().flatten();
            let length = length.expect("invariant: `prepare` sealed so many");
            let (record, later) = rest.split_at_mut(length);
            let opened = self.opener.open(record).expect("invariant: sealed for this opener, in this order");
            let Opened::Data(plain) = opened else { unreachable!("invariant: only data was sealed") };
            assert_eq!(plain.len(), self.plain.len());
            rest = later;
        }
    }
}
