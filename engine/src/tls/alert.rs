//! Alerts by number (RFC 8446 §6), with what they mean for the one who reads the log.

use std::fmt;

/// The description of an alert.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

// === impl Alert ===

impl Alert {
    pub const CLOSE_NOTIFY: Self = Self(0);
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    pub const BAD_RECORD_MAC: Self = Self(20);
    pub const RECORD_OVERFLOW: Self = Self(22);
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    pub const BAD_CERTIFICATE: Self = Self(42);
    pub const UNSUPPORTED_CERTIFICATE: Self = Self(43);
    pub const CERTIFICATE_REVOKED: Self = Self(44);
    pub const CERTIFICATE_EXPIRED: Self = Self(45);
    pub const CERTIFICATE_UNKNOWN: Self = Self(46);
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    pub const UNKNOWN_CA: Self = Self(48);
    pub const ACCESS_DENIED: Self = Self(49);
    pub const DECODE_ERROR: Self = Self(50);
    pub const DECRYPT_ERROR: Self = Self(51);
    pub const PROTOCOL_VERSION: Self = Self(70);
    pub const INTERNAL_ERROR: Self = Self(80);
    pub const USER_CANCELED: Self = Self(90);
    pub const CERTIFICATE_REQUIRED: Self = Self(116);
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    fn name(self) -> &'static str {
        match self {
            Self::CLOSE_NOTIFY => "close_notify",
            Self::UNEXPECTED_MESSAGE => "unexpected_message",
            Self::BAD_RECORD_MAC => "bad_record_mac",
            Self::RECORD_OVERFLOW => "record_overflow",
            Self::HANDSHAKE_FAILURE => "handshake_failure",
            Self::BAD_CERTIFICATE => "bad_certificate",
            Self::UNSUPPORTED_CERTIFICATE => "unsupported_certificate",
            Self::CERTIFICATE_REVOKED => "certificate_revoked",
            Self::CERTIFICATE_EXPIRED => "certificate_expired",
            Self::CERTIFICATE_UNKNOWN => "certificate_unknown",
            Self::ILLEGAL_PARAMETER => "illegal_parameter",
            Self::UNKNOWN_CA => "unknown_ca",
            Self::ACCESS_DENIED => "access_denied",
            Self::DECODE_ERROR => "decode_error",
            Self::DECRYPT_ERROR => "decrypt_error",
            Self::PROTOCOL_VERSION => "protocol_version",
            Self::INTERNAL_ERROR => "internal_error",
            Self::USER_CANCELED => "user_canceled",
            Self::CERTIFICATE_REQUIRED => "certificate_required",
            Self::NO_APPLICATION_PROTOCOL => "no_application_protocol",
            _ => "unnamed",
        }
    }

    /// What to look at when a peer sends us this one.
    pub(super) fn cure(self) -> &'static str {
        match self {
            Self::CERTIFICATE_EXPIRED => {
                "it finds our certificate expired or not yet valid: compare the clocks of both nodes, then see whether \
                 our certificate was renewed"
            }
            Self::UNKNOWN_CA => {
                "it does not hold the root of our certificate: compare the trust bundles of both sides"
            }
            Self::BAD_CERTIFICATE
            | Self::UNSUPPORTED_CERTIFICATE
            | Self::CERTIFICATE_REVOKED
            | Self::CERTIFICATE_UNKNOWN
            | Self::ACCESS_DENIED => "it refuses our certificate or identity: its log says why",
            Self::CERTIFICATE_REQUIRED => "it got no certificate from us: its log says more",
            Self::NO_APPLICATION_PROTOCOL => {
                "it does not offer `h2`: it is not an HBONE proxy, or not on this port"
            }
            Self::PROTOCOL_VERSION | Self::HANDSHAKE_FAILURE => {
                "it needs something else than TLS 1.3 with AES-GCM and X25519 or P-256"
            }
            _ => "its log says why",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alert({self})")
    }
}
