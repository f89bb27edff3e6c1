//! Why there is no connection to a control plane: who is at fault, and what to do.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use rustls::CertificateError;
use thiserror::Error;
use tonic::{Code, Status};

use super::CONNECT_SECONDS_MAX;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ConnectError {
    #[error("`{host}` cannot be resolved ({cause}): correct the address, or see why DNS does not answer")]
    Unresolved { host: String, cause: String },
    #[error("the control plane's name cannot be resolved: {cause}")]
    Aside { cause: String },
    #[error("{address} cannot be reached ({cause}): see whether the control plane runs and listens there")]
    Unreachable { address: String, cause: String },
    #[error(
        "{}: {cause}: {}", path.display(),
        if *missing { "see whether the control plane runs, and that its directory is mounted" }
        else { "see whether the control plane listens there" }
    )]
    Socket { path: PathBuf, cause: String, missing: bool },
    #[error("{address} did not answer within {CONNECT_SECONDS_MAX} s: see whether the control plane hangs")]
    Late { address: String },
    #[error("{root}: {cause}: it has to hold the PEM certificates that the control plane is verified with")]
    Root { root: String, cause: String },
    #[error("{token}: {cause}: it has to hold the token that the control plane asks for (AUTH_TOKEN)")]
    Token { token: String, cause: String },
    #[error(
        "{address} proves itself with a certificate that no root in {root} vouches for ({cause}): give the root of the \
         server that is meant"
    )]
    Untrusted { address: String, root: String, cause: String },
    #[error(
        "{address} proves itself as {presented}, not as {expected}: correct the address, or name an alternative"
    )]
    Name { address: String, expected: String, presented: String },
    #[error("TLS with {address} fails: {cause}")]
    Tls { address: String, cause: String },
    #[error("{address} does not speak HTTP/2: {cause}")]
    Http { address: String, cause: String },
}

impl ConnectError {
    /// What is behind an error of the transport.
    pub(super) fn of(error: &tonic::transport::Error, address: &str) -> Self {
        let other = || Self::Http { address: address.to_owned(), cause: innermost(error) };
        found_in(error).cloned().unwrap_or_else(other)
    }

    /// A handshake that failed.
    pub(super) fn tls(error: &io::Error, address: String, root: String) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            })) => {
                let expected = expected.to_str().into_owned();
                let presented = if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") };
                Self::Name { address, expected, presented }
            }
            Some(rustls::Error::InvalidCertificate(cause)) => {
                Self::Untrusted { address, root, cause: cause.to_string() }
            }
            Some(error) => Self::Tls { address, cause: error.to_string() },
            None => Self::Tls { address, cause: error.to_string() },
        }
    }
}

/// What a call that failed means, in a sentence.
pub(crate) fn explain(status: &Status) -> String {
    if let Some(error) = status.source().and_then(|source| found_in(source)) {
        return error.to_string();
    }
    // A server that answers is behind no error of our own.
    if let Some(source) = status.source() {
        return format!(
            "the connection to the control plane broke ({}): see whether it was restarted, and what it logs",
            innermost(source)
        );
    }
    let text = match status.message() {
        "" => status.code().description().to_owned(),
        text => text.to_owned(),
    };
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            format!("the server refuses us: {text}: see AUTH_TOKEN, and what the server logs")
        }
        Code::Unimplemented => format!("the server does not know this call: {text}: see what listens there"),
        code => format!("the server answers {code:?}: {text}"),
    }
}

fn found_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e ConnectError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The outer ones say "transport error".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
