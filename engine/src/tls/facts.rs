//! What a certificate says of itself, whether it is to be believed or not.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::error::CertificateFault;
use super::utc::Utc;
use super::verify::parse;

/// The facts that decide whether a certificate can be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub not_before: Utc,
    pub not_after: Utc,
    /// Whether it may issue others.
    pub is_authority: bool,
}

// === impl CertificateFacts ===

impl CertificateFacts {
    /// webpki gives none of this away, but checks it in a fixed order and names the first violation: the validity, then
    /// that a leaf is no authority. So it is asked at the beginning of time, at the end of it, and in between.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateFault> {
        let parsed = parse(certificate)?;
        let not_before = match violation(&parsed, 0)? {
            webpki::Error::CertNotValidYet { not_before, .. } => not_before,
            webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::InvalidCertValidity => {
                return Err(unusable("its validity can't be read"));
            }
            _ => UnixTime::since_unix_epoch(Duration::ZERO), // valid ever since 1970
        };
        let webpki::Error::CertExpired { not_after, .. } = violation(&parsed, u64::MAX)? else {
            return Err(unusable("its validity can't be read"));
        };
        let in_between = violation(&parsed, not_before.as_secs())?;
        let is_authority = matches!(in_between, webpki::Error::CaUsedAsEndEntity);
        Ok(Self { not_before: not_before.into(), not_after: not_after.into(), is_authority })
    }
}

/// What webpki finds wrong with a leaf at some moment, if no root is known; so at least that.
fn violation(certificate: &EndEntityCert<'_>, seconds: u64) -> Result<webpki::Error, CertificateFault> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    certificate
        .verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None)
        .err()
        .ok_or_else(|| unusable("it was verified without a root"))
}

fn unusable(cause: &str) -> CertificateFault {
    CertificateFault::Unusable { cause: cause.to_owned() }
}
