//! TLS in front of an agent, as Cilium's serves it: on 127.0.0.1 of its node only, with a certificate that is its own
//! root and no authority.

use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Result;
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::netns::Netns;

/// Where Cilium's agent listens.
const PORT: u16 = 15012;

/// The `bootstrap` pair of Cilium's script.
#[derive(Debug)]
pub(super) struct BootstrapPair {
    certificate: Certificate,
    key: KeyPair,
}

/// A running front; dropped, it is closed with all its connections.
#[derive(Debug)]
pub(super) struct TlsFront {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl BootstrapPair {
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self { certificate: params.self_signed(&key)?, key })
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.der().clone()],
                PrivateKeyDer::Pkcs8(self.key.serialize_der().into()),
            )?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl TlsFront {
    /// Listens on 127.0.0.1 of a node, and on nothing else, in front of the socket.
    pub(super) fn start(node: &Netns, pair: &BootstrapPair, socket: &Path) -> Result<Self> {
        let listener = node.enter(|| TcpListener::bind(("127.0.0.1", PORT)))?;
        listener.set_nonblocking(true)?;
        let (acceptor, socket) = (pair.acceptor()?, socket.to_owned());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = accept(listener, acceptor, &socket) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, socket: &Path) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, socket) = (acceptor.clone(), socket.to_owned());
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Ok(mut agent) = UnixStream::connect(socket).await else { return };
            let _ = copy_bidirectional(&mut stream, &mut agent).await;
        });
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
