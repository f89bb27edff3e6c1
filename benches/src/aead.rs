//! Encryption alone: what no tunnel can go below.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::{MESSAGE_BYTES, Step};

/// Plain bytes of a full record.
pub(crate) const RECORD_BYTES: usize = 16_384;
pub(crate) const TAG_BYTES: usize = 16;

/// A key and its sequence number: one direction of a connection.
pub(crate) struct Cipher {
    key: LessSafeKey,
    sequence: u64,
}

impl Cipher {
    pub(crate) fn new() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("invariant: AES-128 keys have 16 bytes");
        Self { key: LessSafeKey::new(key), sequence: 0 }
    }

    /// Seals all of `record` but its last [`TAG_BYTES`], which become the tag.
    pub(crate) fn seal(&mut self, record: &mut [u8]) {
        let nonce = self.nonce();
        let (plain, tag) = record.split_at_mut(record.len() - TAG_BYTES);
        let sealed = self.key.seal_in_place_scatter(nonce, additional_data(), plain, &[], tag);
        sealed.expect("invariant: a record is far below the limit of AES-GCM");
    }

    /// Opens what the same number of calls of `seal` on the other end has sealed.
    pub(crate) fn open<'r>(&mut self, record: &'r mut [u8]) -> &'r [u8] {
        let nonce = self.nonce();
        let opened = self.key.open_in_place(nonce, additional_data(), record);
        opened.expect("invariant: sealed by the same key with the same number")
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// As long as the header of a TLS record.
fn additional_data() -> Aad<[u8; 5]> {
    Aad::from([23, 3, 3, 0, 0])
}

/// Seals and opens the same buffer again and again.
pub(crate) struct Aead {
    sealing: Cipher,
    opening: Cipher,
    record: Vec<u8>,
}

impl Aead {
    pub(crate) fn new() -> Self {
        Self { sealing: Cipher::new(), opening: Cipher::new(), record: vec![7; RECORD_BYTES + TAG_BYTES] }
    }

    fn both_ways(&mut self, plain_bytes: usize) {
        let record = &mut self.record[..plain_bytes + TAG_BYTES];
        self.sealing.seal(record);
        self.opening.open(record);
    }
}

impl Step for Aead {
    fn bulk(&mut self, frame_bytes: usize, frames: usize) {
        for _ in 0..frames * frame_bytes.div_ceil(RECORD_BYTES) {
            self.both_ways(RECORD_BYTES);
        }
    }

    fn exchange(&mut self, count: usize) {
        for _ in 0..2 * count {
            self.both_ways(MESSAGE_BYTES);
        }
    }
}
