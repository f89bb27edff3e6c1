//! TLS towards a control plane.
//!
//! The root may be no authority at all: Cilium's server proves itself with the very certificate that is its root. As a
//! trust anchor webpki takes any certificate, for only its name and key count.

use std::fs;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::ConnectError;
use crate::environment::{ChannelSettings, Root};

/// Built for each connection, so that a replaced root counts from the next one on.
pub(super) fn config(settings: &ChannelSettings) -> Result<Arc<ClientConfig>, ConnectError> {
    let provider = Arc::new(default_provider());
    let roots = Arc::new(roots(&settings.root)?);
    let invalid = |cause: String| ConnectError::Root { root: name_of(&settings.root), cause };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    let alternative = settings.alternative_name.as_deref().map(server_name).transpose()?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .dangerous() // rustls's word for a verifier of one's own
        .with_custom_certificate_verifier(Arc::new(EitherName { verifier, alternative }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    host: &str,
    settings: &ChannelSettings,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = server_name(host)?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| ConnectError::tls(&error, settings.endpoint.to_string(), name_of(&settings.root)))
}

fn server_name(name: &str) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(name.to_owned())
        .map_err(|error| ConnectError::Unresolved { host: name.to_owned(), cause: error.to_string() })
}

fn roots(root: &Root) -> Result<RootCertStore, ConnectError> {
    let failed = |cause: String| ConnectError::Root { root: name_of(root), cause };
    let read;
    let pem = match root {
        Root::Pem(text) => text.as_bytes(),
        Root::File(path) => {
            read = fs::read(path).map_err(|error| failed(error.to_string()))?;
            &read
        }
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        store.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(store)
}

/// What a person finds the root by.
fn name_of(root: &Root) -> String {
    match root {
        Root::File(path) => path.display().to_string(),
        Root::Pem(_) => "the root given as text".to_owned(),
    }
}

/// Takes a certificate for the host's name or for the alternative one.
#[derive(Debug)]
struct EitherName {
    verifier: Arc<WebPkiServerVerifier>,
    alternative: Option<ServerName<'static>>,
}

impl ServerCertVerifier for EitherName {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |name| self.verifier.verify_server_cert(leaf, intermediates, name, ocsp, now);
        match (verify(name), &self.alternative) {
            (Err(error), Some(alternative)) if is_about_names(&error) => {
                verify(alternative).map_err(|_| error)
            }
            (verdict, _) => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn is_about_names(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}
