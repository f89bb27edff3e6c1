//! The key of one direction: a traffic secret, what is derived from it, and the number of the next record.
//!
//! Plain data but for the derived key, which is made anew from the secret when the state is read back.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::super::secrets::{IV_BYTES, Secret};
use super::super::suite::Suite;
use super::{HEADER_BYTES, TRAILER_BYTES};
use crate::handover::{ReadError, Reader, Writer};

pub(super) struct TrafficKeys {
    suite: Suite,
    secret: Secret,
    /// How many KeyUpdates came before this secret.
    generation: u32,
    /// The number of the next record under this secret.
    sequence: u64,
    aead: LessSafeKey,
    iv: Zeroizing<[u8; IV_BYTES]>,
}

// === impl TrafficKeys ===

impl TrafficKeys {
    pub(super) fn new(suite: Suite, secret: Secret, sequence: u64) -> Self {
        Self::derive(suite, secret, sequence, 0)
    }

    fn derive(suite: Suite, secret: Secret, sequence: u64, generation: u32) -> Self {
        let material = secret.key_material(suite);
        let key = UnboundKey::new(suite.aead(), material.key())
            .expect("invariant: a key of the suite's own length");
        Self { suite, secret, generation, sequence, aead: LessSafeKey::new(key), iv: material.iv }
    }

    /// The key after a KeyUpdate (RFC 8446 §7.2).
    pub(super) fn update(&mut self) {
        let next = self.secret.next(self.suite);
        *self = Self::derive(self.suite, next, 0, self.generation.wrapping_add(1));
    }

    /// Records sealed or opened under this key so far.
    pub(super) fn records(&self) -> u64 {
        self.sequence
    }

    /// Seals `plain` in place; `trailer` takes the type and the tag.
    #[inline]
    pub(super) fn seal(
        &mut self,
        header: [u8; HEADER_BYTES],
        plain: &mut [u8],
        content: u8,
        trailer: &mut [u8; TRAILER_BYTES],
    ) {
        let nonce = self.next_nonce();
        self.aead
            .seal_in_place_scatter(nonce, Aad::from(header), plain, &[content], trailer)
            .expect("invariant: a record is far below the limit of GCM and the trailer has its length");
    }

    /// Seals `plain` into `sealed`, which is as long.
    #[inline]
    pub(super) fn seal_from(
        &mut self,
        header: [u8; HEADER_BYTES],
        plain: &[u8],
        sealed: &mut [u8],
        content: u8,
        trailer: &mut [u8; TRAILER_BYTES],
    ) {
        let nonce = self.next_nonce();
        self.aead
            .seal_out_of_place_scatter(nonce, Aad::from(header), plain, sealed, &[content], trailer)
            .expect("invariant: a record is far below the limit of GCM and the buffers have equal lengths");
    }

    /// Opens `sealed` in place and gives back what is plain in it. `None`: it was not sealed with this key and number.
    #[inline]
    pub(super) fn open<'r>(
        &mut self,
        header: [u8; HEADER_BYTES],
        sealed: &'r mut [u8],
    ) -> Option<&'r mut [u8]> {
        let nonce = self.next_nonce();
        self.aead.open_in_place(nonce, Aad::from(header), sealed).ok()
    }

    /// RFC 8446 §5.3: the number of the record, XORed into the end of the initial vector.
    #[inline]
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, number) in nonce[IV_BYTES - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        // RFC 8446 §5.3: numbers must not wrap; KeyUpdate comes 2^40 times earlier.
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        w.u32(self.suite.number());
        w.bytes(self.secret.as_slice());
        w.u64(self.sequence);
        w.u32(self.generation);
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let suite = Suite::from_number(r.u32()?).ok_or(ReadError::Invalid("a cipher suite"))?;
        let secret = Secret::new(r.bytes()?)
            .filter(|secret| secret.as_slice().len() == suite.secret_len())
            .ok_or(ReadError::Invalid("a traffic secret"))?;
        let sequence = r.u64()?;
        let generation = r.u32()?;
        Ok(Self::derive(suite, secret, sequence, generation))
    }
}

impl fmt::Debug for TrafficKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficKeys")
            .field("suite", &self.suite)
            .field("generation", &self.generation)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
