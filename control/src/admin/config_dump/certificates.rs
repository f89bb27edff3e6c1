//! Certificates, as the dump has them: those in use, and those that are wanted and not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::mesh::{Holder, Snapshot};
use engine::tls::Credentials;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::Admin;
use crate::status::{CertificateStatus, seconds_left};

/// A line of base64 in PEM (RFC 7468 §2).
const PEM_LINE_CHARACTERS: usize = 64;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HolderDump {
    identity: String,
    /// The only pod that may use it, by uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    state: String,
    /// Leaf first.
    cert_chain: Vec<CertificateDump>,
    root_certs: Vec<CertificateDump>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateDump {
    /// The PEM text, once more in base64.
    pem: String,
    /// In decimal.
    serial_number: String,
    valid_from: String,
    expiration_time: String,
}

pub(super) fn all(admin: &Admin, snapshot: &Snapshot, now: SystemTime) -> Vec<HolderDump> {
    let held: BTreeMap<Holder, &Arc<Credentials>> = snapshot.holders().collect();
    let (missing, expired) = admin.known.status.read(|state| {
        let missing = state.certificates.iter().filter(|(holder, _)| !held.contains_key(holder));
        let missing = missing.map(|(holder, status)| (holder.clone(), state_of(status)));
        let expired = held.iter().filter(|(_, credentials)| seconds_left(credentials.not_after, now) <= 0);
        let expired = expired.map(|(holder, credentials)| {
            (holder.clone(), state_of_expired(credentials, state.certificates.get(holder), now))
        });
        (missing.collect::<BTreeMap<_, _>>(), expired.collect::<BTreeMap<_, _>>())
    });
    let held = held.into_iter().map(|(holder, credentials)| {
        let state = expired.get(&holder).cloned().unwrap_or_else(|| "Available".to_owned());
        in_use(&holder, credentials, state)
    });
    let missing = missing.into_iter().map(|(holder, state)| dump(&holder, state, Vec::new(), Vec::new()));
    held.chain(missing).collect()
}

fn state_of(status: &CertificateStatus) -> String {
    match &status.error {
        None => "Initializing".to_owned(),
        Some(error) => format!("Unavailable: {error}"),
    }
}

/// It is kept until a newer one comes, and no peer takes it.
fn state_of_expired(
    credentials: &Credentials,
    status: Option<&CertificateStatus>,
    now: SystemTime,
) -> String {
    let seconds = -seconds_left(credentials.not_after, now);
    let cause = status.and_then(|status| status.error.as_deref()).unwrap_or("no newer one has come");
    format!("Unavailable: expired {seconds} s ago: {cause}")
}

fn in_use(holder: &Holder, credentials: &Credentials, state: String) -> HolderDump {
    let roots = credentials.bundle().roots(&holder.identity.trust_domain);
    let chain = credentials.chain().iter().map(certificate).collect();
    dump(holder, state, chain, roots.iter().map(certificate).collect())
}

fn dump(
    holder: &Holder,
    state: String,
    cert_chain: Vec<CertificateDump>,
    root_certs: Vec<CertificateDump>,
) -> HolderDump {
    let pod = holder.pod.as_deref().map(str::to_owned);
    HolderDump { identity: holder.identity.to_string(), pod, state, cert_chain, root_certs }
}

/// What cannot be read is left empty: the certificate itself is there to be looked at.
fn certificate(der: &CertificateDer<'_>) -> CertificateDump {
    let parsed = parse_x509_certificate(der).ok().map(|(_, parsed)| parsed);
    let parsed = parsed.as_ref();
    CertificateDump {
        pem: STANDARD.encode(pem(der)),
        serial_number: parsed.map(|parsed| parsed.serial.to_string()).unwrap_or_default(),
        valid_from: parsed.map(|parsed| rfc3339(parsed.validity.not_before)).unwrap_or_default(),
        expiration_time: parsed.map(|parsed| rfc3339(parsed.validity.not_after)).unwrap_or_default(),
    }
}

fn rfc3339(time: ASN1Time) -> String {
    time.to_datetime().format(&Rfc3339).unwrap_or_default()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(PEM_LINE_CHARACTERS) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
