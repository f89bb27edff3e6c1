//! Records of the sealed copy, and the keys they are sealed with.
//!
//! ```text
//!   salt (32) │ record │ record │ …        the clients' side sends the salt, then records; the servers' side records
//!   record = length of the payload (4, big endian) │ payload, sealed │ tag (16)
//! ```
//!
//! Each connection has two keys, one for each direction, made from the shared secret and the salt; the nonce counts the
//! records. A record without payload is the end of a direction. This is no protocol to use: no identities, no forward
//! secrecy, no protection of the salt. It does what every encrypting proxy has to do for each byte, and nothing else.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;

/// What says how long a record is.
pub(super) const LENGTH_LEN: usize = 4;
pub(super) const TAG_LEN: usize = 16;
pub(super) const SALT_LEN: usize = 32;
/// What one record may hold.
pub(super) const PAYLOAD_LENS: RangeInclusive<usize> = 1024..=1024 * 1024;

const KEY_LEN: usize = 16;
/// Enough to make two 128 bit keys of.
const SECRET_LEN_MIN: usize = 32;

/// What both sides know before they meet.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

/// The keys of one connection.
#[derive(Debug)]
pub(super) struct Keys {
    /// Of the clients' side.
    pub(super) to_server: Sealer,
    /// Of the servers' side.
    pub(super) to_client: Sealer,
}

/// One direction of one connection, at either end.
#[derive(Debug)]
pub(super) struct Sealer {
    key: LessSafeKey,
    records: u64,
}

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() >= SECRET_LEN_MIN, "a secret has at least {SECRET_LEN_MIN} bytes");
        Ok(Self(bytes.to_vec()))
    }

    /// The keys of the connection that begins with `salt`.
    pub(super) fn keys(&self, salt: &[u8; SALT_LEN]) -> Result<Keys> {
        let derived = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let sealer = |direction: &[u8]| -> Result<Sealer> {
            let mut key = [0; KEY_LEN];
            let filled = derived.expand(&[direction], Aes128).and_then(|okm| okm.fill(&mut key));
            filled.map_err(|_| anyhow!("no key could be derived"))?;
            let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| anyhow!("not a key of AES-128"))?;
            Ok(Sealer { key: LessSafeKey::new(key), records: 0 })
        };
        Ok(Keys { to_server: sealer(b"to server")?, to_client: sealer(b"to client")? })
    }
}

/// Not its bytes.
impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

pub(super) fn random_salt() -> Result<[u8; SALT_LEN]> {
    let mut salt = [0; SALT_LEN];
    rand::fill(&mut salt).map_err(|_| anyhow!("no random bytes"))?;
    Ok(salt)
}

impl Sealer {
    /// Makes a record of the `payload_len` bytes in `buffer` behind the room for their length; its whole length.
    pub(super) fn seal(&mut self, buffer: &mut [u8], payload_len: usize) -> Result<usize> {
        let length = u32::try_from(payload_len).context("a record of more than 4 GiB")?;
        let (head, rest) = buffer.split_at_mut(LENGTH_LEN);
        let (payload, rest) = rest.split_at_mut(payload_len);
        head.copy_from_slice(&length.to_be_bytes());
        let nonce = self.next_nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload);
        let tag = tag.map_err(|_| anyhow!("a record could not be sealed"))?;
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        Ok(LENGTH_LEN + payload_len + TAG_LEN)
    }

    /// Opens a whole record where it is; its payload.
    pub(super) fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<&'r mut [u8]> {
        let (head, sealed) = record.split_at_mut(LENGTH_LEN);
        let nonce = self.next_nonce();
        let opened = self.key.open_in_place(nonce, Aad::from(&*head), sealed);
        opened.map_err(|_| anyhow!("a record that the other side did not seal"))
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.records.to_be_bytes());
        self.records += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

struct Aes128;

impl KeyType for Aes128 {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SALT: [u8; SALT_LEN] = [7; SALT_LEN];

    fn keys(salt: &[u8; SALT_LEN]) -> Keys {
        Secret::new(&[1; 32]).unwrap().keys(salt).unwrap()
    }

    fn record(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; LENGTH_LEN + payload.len() + TAG_LEN];
        buffer[LENGTH_LEN..LENGTH_LEN + payload.len()].copy_from_slice(payload);
        assert_eq!(sealer.seal(&mut buffer, payload.len()).unwrap(), buffer.len());
        buffer
    }

    fn opened(sealer: &mut Sealer, record: &[u8]) -> Option<Vec<u8>> {
        sealer.open(&mut record.to_vec()).ok().map(|payload| payload.to_vec())
    }

    #[test]
    fn what_one_side_seals_the_other_opens_in_its_order() {
        let (mut here, mut there) = (keys(&SALT), keys(&SALT));
        let first = record(&mut here.to_server, b"hello");
        let second = record(&mut here.to_server, b"hello");
        assert!(first != second && !first.windows(5).any(|window| window == b"hello"));
        assert_eq!(opened(&mut there.to_server, &first).unwrap(), b"hello");
        assert_eq!(opened(&mut there.to_server, &second).unwrap(), b"hello");
        assert_eq!(opened(&mut there.to_server, &second), None, "a record comes once");
        let end = record(&mut here.to_client, b"");
        assert_eq!(opened(&mut there.to_client, &end).unwrap(), b"");
    }

    #[test]
    fn nothing_else_opens() {
        let sealed = record(&mut keys(&SALT).to_server, b"hello");
        for at in 0..sealed.len() {
            let mut touched = sealed.clone();
            touched[at] ^= 1;
            assert_eq!(opened(&mut keys(&SALT).to_server, &touched), None, "byte {at}");
        }
        assert_eq!(opened(&mut keys(&SALT).to_client, &sealed), None, "the other direction");
        assert_eq!(opened(&mut keys(&[8; SALT_LEN]).to_server, &sealed), None, "another connection");
        assert!(Secret::new(b"short").is_err());
    }
}
