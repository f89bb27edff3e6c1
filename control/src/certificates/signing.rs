//! A signing request, and what its answer has to be (contract 2.10).

use std::error::Error;
use std::time::SystemTime;

use engine::mesh::Identity;
use engine::tls::{Credentials, CredentialsError, Suites, TrustBundle};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tonic::{Code, Status};
use zeroize::Zeroizing;

#[derive(Debug, Error)]
pub(super) enum SigningError {
    #[error("no key can be made: {0}")]
    Key(String),
    /// There is no talking to it.
    #[error("{cause}")]
    Call { cause: String },
    #[error("the certificate authority did not answer in time: see whether it hangs")]
    Late,
    /// It says no.
    #[error("the certificate authority gives none: {cause}")]
    Refused { cause: String },
    #[error("the certificate authority answers with what cannot be used: {cause}")]
    Answer { cause: String },
    #[error(
        "the certificate authority signs for the trust domain `{answered}`, and this proxy asked as `{asked}`: set \
         TRUST_DOMAIN to that of the mesh"
    )]
    TrustDomain { asked: String, answered: String },
    #[error(
        "the certificate authority answers for `{answered}` to the request of `{asked}`: see what it runs"
    )]
    Identity { asked: Identity, answered: Identity },
}

/// A new P-256 key. It is overwritten when it is dropped.
pub(super) struct SigningKey(Zeroizing<KeyPair>);

impl SigningKey {
    pub(super) fn generate() -> Result<Self, SigningError> {
        KeyPair::generate()
            .map(|key| Self(Zeroizing::new(key)))
            .map_err(|error| SigningError::Key(error.to_string()))
    }

    /// PEM, whatever happens: anything else crashes Cilium's agent. The subject is empty, which makes the one URI that
    /// names the identity critical.
    pub(super) fn request(&self, identity: &Identity) -> Result<String, SigningError> {
        let failed = |error: rcgen::Error| SigningError::Key(error.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let uri = identity.to_string().try_into().map_err(failed)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.serialize_request(&*self.0).and_then(|request| request.pem()).map_err(failed)
    }

    fn der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.0.serialize_der().into())
    }
}

/// Leaf first; the last element holds the root or roots.
pub(super) fn credentials(
    identity: &Identity,
    key: SigningKey,
    answer: &[String],
    suites: Suites,
) -> Result<Credentials, SigningError> {
    let wrong = |cause: String| SigningError::Answer { cause };
    let Some((roots, chain)) = answer.split_last().filter(|(_, chain)| !chain.is_empty()) else {
        return Err(wrong(format!("it has {} parts, and at least two are needed", answer.len())));
    };
    let mut certificates = Vec::new();
    for part in chain {
        certificates.extend(read(part)?);
    }
    super::check_length(&certificates).map_err(wrong)?;
    let mut bundle = TrustBundle::default();
    bundle.insert(identity.trust_domain.clone(), read(roots)?).map_err(|error| wrong(error.to_string()))?;
    let credentials =
        Credentials::new(certificates, key.der(), &bundle, suites).map_err(|error| match error {
            // Its roots are those of the trust domain that was asked for.
            CredentialsError::NoRoots { trust_domain } => SigningError::TrustDomain {
                asked: identity.trust_domain.to_string(),
                answered: trust_domain.to_string(),
            },
            error => wrong(error.to_string()),
        })?;
    if credentials.identity != *identity {
        let (asked, answered) = (identity.clone(), credentials.identity);
        return Err(SigningError::Identity { asked, answered });
    }
    // Better no certificate than one that every peer refuses.
    credentials.verify(SystemTime::now()).map_err(|fault| wrong(fault.to_string()))?;
    Ok(credentials)
}

fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, SigningError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| SigningError::Answer { cause: error.to_string() })
}

// === impl SigningError ===

impl SigningError {
    /// A call that failed, explained.
    pub(super) fn of(status: &Status, cause: String) -> Self {
        match status.code() {
            // An error of our own is behind it: the connection broke, and nobody said anything.
            Code::Unknown if status.source().is_some() => Self::Call { cause },
            // Cilium's agent says no with the code of an error that nobody named.
            Code::Unknown | Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition => {
                Self::Refused { cause: format!("{cause} ({:?})", status.code()) }
            }
            // What tonic says of an answer beyond the limit.
            Code::OutOfRange => Self::Answer { cause },
            _ => Self::Call { cause },
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
