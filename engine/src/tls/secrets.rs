//! Traffic secrets and what is derived from them (RFC 8446 §7.1 to §7.3), and the tap by which they leave rustls.
//!
//! rustls gives away keys, but KeyUpdate needs the secret that the keys come from, and only its key log shows that one.
//! Its configuration, and with it the key log, is shared by all connections of an identity; so the tap writes into a
//! slot of the thread, and [`Captured::collect`] empties that slot right after each call into rustls.

use std::cell::RefCell;
use std::fmt;

use aws_lc_rs::hkdf;
use rustls::{ConnectionTrafficSecrets, KeyLog};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::suite::Suite;

/// The longest traffic secret: SHA-384.
const SECRET_MAX_BYTES: usize = 48;
/// The longest key: AES-256.
const KEY_MAX_BYTES: usize = 32;
pub(super) const IV_BYTES: usize = 12;

/// A traffic secret of one direction.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Secret {
    bytes: [u8; SECRET_MAX_BYTES],
    length: usize,
}

/// The key and the initial vector that come from a secret.
pub(super) struct KeyMaterial {
    key: Zeroizing<[u8; KEY_MAX_BYTES]>,
    key_length: usize,
    pub(super) iv: Zeroizing<[u8; IV_BYTES]>,
}

/// The first application traffic secret of either side, as far as rustls has shown them.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) client: Option<Secret>,
    pub(super) server: Option<Secret>,
}

/// Puts the secrets that rustls shows into the slot of this thread.
#[derive(Debug)]
pub(super) struct SecretTap;

thread_local! {
    static SLOT: RefCell<Captured> = const { RefCell::new(Captured { client: None, server: None }) };
}

// === impl Secret ===

impl Secret {
    /// `None` where the length is not that of any suite's hash.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self { bytes: [0; SECRET_MAX_BYTES], length: bytes.len() };
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// `application_traffic_secret_N+1` (RFC 8446 §7.2).
    pub(super) fn next(&self, suite: Suite) -> Self {
        let mut next = Self { bytes: [0; SECRET_MAX_BYTES], length: self.length };
        expand_label(suite, self, b"traffic upd", &mut next.bytes[..self.length]);
        next
    }

    /// The record key and the initial vector (RFC 8446 §7.3).
    pub(super) fn key_material(&self, suite: Suite) -> KeyMaterial {
        let mut material = KeyMaterial {
            key: Zeroizing::new([0; KEY_MAX_BYTES]),
            key_length: suite.aead().key_len(),
            iv: Zeroizing::new([0; IV_BYTES]),
        };
        expand_label(suite, self, b"key", &mut material.key[..material.key_length]);
        expand_label(suite, self, b"iv", &mut material.iv[..]);
        material
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

// === impl KeyMaterial ===

impl KeyMaterial {
    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.key_length]
    }

    /// Whether rustls derived the same.
    pub(super) fn agrees_with(&self, extracted: &ConnectionTrafficSecrets) -> bool {
        match extracted {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                self.key() == key.as_ref() && self.iv[..] == *iv.as_ref()
            }
            _ => false,
        }
    }
}

// === impl Captured ===

impl Captured {
    /// Takes what rustls showed on this thread since the last call. Called after each call into rustls, so that what is
    /// in the slot is this connection's.
    pub(super) fn collect(&mut self) {
        let shown = SLOT.take();
        self.client = self.client.take().or(shown.client);
        self.server = self.server.take().or(shown.server);
    }
}

// === impl SecretTap ===

impl KeyLog for SecretTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        SLOT.with_borrow_mut(|slot| match label {
            "CLIENT_TRAFFIC_SECRET_0" => slot.client = Secret::new(secret),
            "SERVER_TRAFFIC_SECRET_0" => slot.server = Secret::new(secret),
            _ => {}
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, "CLIENT_TRAFFIC_SECRET_0" | "SERVER_TRAFFIC_SECRET_0")
    }
}

/// The length of what HKDF is to give.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand_label(suite: Suite, secret: &Secret, label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(out.len()).expect("invariant: at most SECRET_MAX_BYTES are asked for");
    let label_length = [(PREFIX.len() + label.len()) as u8];
    hkdf::Prk::new_less_safe(suite.hkdf(), secret.as_slice())
        .expand(&[&length.to_be_bytes(), &label_length, PREFIX, label, &[0]], Length(out.len()))
        .and_then(|material| material.fill(out))
        .expect("invariant: HKDF gives up to 255 hashes, and we ask for at most one");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 8448 §3: the server's first application traffic secret, and the key and vector derived from it.
    #[test]
    fn rfc_8448_application_keys() {
        let secret =
            Secret::new(&bytes("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")).unwrap();
        let material = secret.key_material(Suite::Aes128Gcm);
        assert_eq!(material.key(), bytes("9f02283b6c9c07efc26bb9f2ac92e356"));
        assert_eq!(material.iv[..], bytes("cf782b88dd83549aadf1e984"));
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        let secret = Secret::new(&[0xab; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn refuses_a_secret_longer_than_any_hash() {
        assert!(Secret::new(&[0; SECRET_MAX_BYTES + 1]).is_none());
    }
}
