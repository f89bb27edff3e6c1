//! The two cipher suites we speak, what differs between them, and which of them a connection takes.

use std::{fmt, iter};

use aws_lc_rs::{aead, hkdf};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A TLS 1.3 cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256: ours by choice, fewer rounds.
    Aes128Gcm,
    /// TLS_AES_256_GCM_SHA384: for peers and operators that insist.
    Aes256Gcm,
}

/// The suites that a connection may take, the one that we prefer first. Offered to a server in this order; to a client's
/// order our own goes first. By default AES-128, then AES-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suites {
    pub preferred: Suite,
    /// `None`: a peer that does not speak the preferred one is refused.
    pub second: Option<Suite>,
}

// === impl Suites ===

impl Default for Suites {
    fn default() -> Self {
        Self { preferred: Suite::Aes128Gcm, second: Some(Suite::Aes256Gcm) }
    }
}

impl Suites {
    /// All of them, the preferred one first.
    pub fn in_order(self) -> impl Iterator<Item = Suite> {
        iter::once(self.preferred).chain(self.second)
    }

    pub(super) fn of_rustls(self) -> Vec<SupportedCipherSuite> {
        self.in_order().map(Suite::of_rustls).collect()
    }
}

/// In their order, separated by commas.
impl fmt::Display for Suites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.preferred.fmt(f)?;
        self.second.map_or(Ok(()), |second| write!(f, ",{second}"))
    }
}

// === impl Suite ===

impl Suite {
    pub(super) fn of(negotiated: CipherSuite) -> Option<Self> {
        match negotiated {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Self::Aes128Gcm),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    pub(super) fn of_rustls(self) -> SupportedCipherSuite {
        match self {
            Self::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256Gcm => cipher_suite::TLS13_AES_256_GCM_SHA384,
        }
    }

    pub(super) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
        }
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    /// Length of a traffic secret: that of the suite's hash.
    pub(super) fn secret_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 32,
            Self::Aes256Gcm => 48,
        }
    }

    /// The number in the TLS registry, which is also how a suite is written down.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Aes128Gcm => 0x1301,
            Self::Aes256Gcm => 0x1302,
        }
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        [Self::Aes128Gcm, Self::Aes256Gcm].into_iter().find(|suite| suite.number() == number)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
        })
    }
}
