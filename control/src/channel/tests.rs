#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use proto::ca::istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer};
use proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::*;
use crate::environment::{Root, Token};
use crate::stand_in::refused_port;

/// Answers with the headers of the call.
struct Headers;

#[tonic::async_trait]
impl IstioCertificateService for Headers {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let header = |name| Some(format!("{name}: {}", request.metadata().get(name)?.to_str().ok()?));
        let cert_chain = ["authorization", "clusterid", "x-more"].into_iter().filter_map(header).collect();
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

/// A server on a unix socket, and files.
struct Lab {
    directory: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { directory: TempDir::new().unwrap() };
        let listener = UnixListener::bind(lab.path("server.sock")).unwrap();
        let service = IstioCertificateServiceServer::new(Headers);
        tokio::spawn(Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener)));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dialer(&self, endpoint: Endpoint) -> Dialer {
        Dialer::new(self.settings(endpoint), "c1").unwrap()
    }

    fn settings(&self, endpoint: Endpoint) -> ChannelSettings {
        ChannelSettings {
            endpoint,
            root: Root::File(self.path("root.pem")),
            alternative_name: None,
            token: None,
            headers: Vec::new(),
        }
    }

    fn unix(&self) -> Endpoint {
        Endpoint::Unix(self.path("server.sock"))
    }

    /// A port of 127.0.0.1, and of no other address, where the server is behind TLS with this pair.
    async fn behind_tls(&self, pair: &Pair) -> u16 {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.certificate.der().clone()], pair.key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = self.path("server.sock");
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, backend) = (acceptor.clone(), backend.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut backend = UnixStream::connect(backend).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut backend).await;
                });
            }
        });
        port
    }
}

/// What Cilium's script makes (contract 2.10): a certificate that is its own root and no authority.
struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Pair {
    fn cilium() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    fn write(&self, path: &Path) {
        fs::write(path, self.certificate.pem()).unwrap();
    }
}

async fn call(channel: Called) -> Result<Vec<String>, String> {
    let answer = IstioCertificateServiceClient::new(channel)
        .create_certificate(IstioCertificateRequest::default())
        .await;
    answer.map(|answer| answer.into_inner().cert_chain).map_err(|status| explain(&status))
}

fn tls(host: &str, port: u16) -> Endpoint {
    Endpoint::Tls { host: host.to_owned(), port }
}

#[tokio::test]
async fn calls_go_over_a_unix_socket_with_their_headers() {
    let lab = Lab::new();
    let token = lab.path("token");
    fs::write(&token, "first\n").unwrap();
    let settings = ChannelSettings {
        token: Some(Token::File(token.clone())),
        headers: vec![("x-more".to_owned(), "value".to_owned())],
        ..lab.settings(lab.unix())
    };
    let channel = Dialer::new(settings, "c1").unwrap().connect().await.unwrap();
    let expected = ["authorization: Bearer first", "clusterid: c1", "x-more: value"];
    assert_eq!(call(channel.clone()).await.unwrap(), expected);

    fs::write(&token, "second").unwrap();
    let answer = call(channel.clone()).await.unwrap();
    assert_eq!(answer[0], "authorization: Bearer second", "read for each call");
    fs::remove_file(&token).unwrap();
    let error = call(channel).await.unwrap_err();
    assert!(error.contains("token") && error.contains("AUTH_TOKEN"), "{error}");
}

#[tokio::test]
async fn a_header_that_is_none_is_refused() {
    let lab = Lab::new();
    let headers = vec![("x more".to_owned(), "value".to_owned())];
    let settings = ChannelSettings { headers, ..lab.settings(lab.unix()) };
    let error = Dialer::new(settings, "c1").unwrap_err().to_string();
    assert!(error.contains("`x more`") && !error.contains("value"), "{error}");
}

#[tokio::test]
async fn a_token_may_be_the_text_itself() {
    let lab = Lab::new();
    let with = |token: &str| {
        let token = Some(Token::Literal(token.to_owned().into()));
        Dialer::new(ChannelSettings { token, ..lab.settings(lab.unix()) }, "c1").unwrap().lazy()
    };
    assert_eq!(call(with("secret")).await.unwrap()[0], "authorization: Bearer secret");
    let error = call(with("secret\nsecret")).await.unwrap_err();
    assert!(error.contains("AUTH_TOKEN") && !error.contains("secret"), "{error}");
}

#[test]
fn a_connection_that_broke_is_no_answer() {
    let mut status = Status::unknown("h2 protocol error");
    assert!(explain(&status).contains("the server answers Unknown"));
    status.set_source(Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    let text = explain(&status);
    assert!(text.contains("broke (connection reset)"), "{text}");
}

#[tokio::test]
async fn a_root_that_is_no_authority_vouches_for_itself() {
    let (lab, pair) = (Lab::new(), Pair::cilium());
    let port = lab.behind_tls(&pair).await;
    pair.write(&lab.path("root.pem"));
    let channel = lab.dialer(tls("localhost", port)).connect().await.unwrap();
    assert_eq!(call(channel).await.unwrap(), ["clusterid: c1"]);
}

#[tokio::test]
async fn a_replaced_root_counts_from_the_next_connection_on() {
    let (lab, pair) = (Lab::new(), Pair::cilium());
    let port = lab.behind_tls(&pair).await;
    let dialer = lab.dialer(tls("localhost", port));
    let error = dialer.connect().await.unwrap_err().to_string();
    assert!(error.contains("root.pem") && error.contains("No such file"), "{error}");
    fs::write(lab.path("root.pem"), "none").unwrap();
    let error = dialer.connect().await.unwrap_err().to_string();
    assert!(error.contains("no certificate in it"), "{error}");

    Pair::cilium().write(&lab.path("root.pem"));
    let error = dialer.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("root.pem"), "{error}");
    pair.write(&lab.path("root.pem"));
    assert!(call(dialer.connect().await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn the_name_of_the_server_or_the_alternative_one() {
    let (lab, pair) = (Lab::new(), Pair::cilium());
    let port = lab.behind_tls(&pair).await;
    pair.write(&lab.path("root.pem"));
    let settings = lab.settings(tls("127.0.0.1", port));
    let named = |alternative: Option<&str>| {
        let alternative_name = alternative.map(str::to_owned);
        Dialer::new(ChannelSettings { alternative_name, ..settings.clone() }, "").unwrap()
    };
    for alternative in [None, Some("istiod")] {
        let error = named(alternative).connect().await.unwrap_err();
        assert!(matches!(&error, ConnectError::Name { expected, .. } if expected == "127.0.0.1"), "{error}");
        assert!(error.to_string().contains("localhost"), "{error}");
    }
    assert!(call(named(Some("localhost")).connect().await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let lab = Lab::new();
    let missing = lab.dialer(Endpoint::Unix(lab.path("none.sock"))).connect().await.unwrap_err();
    assert!(matches!(missing, ConnectError::Socket { missing: true, .. }), "{missing}");

    let (_held, closed) = refused_port();
    let plain = Endpoint::Plain { host: "localhost".to_owned(), port: closed };
    let dialer = lab.dialer(plain);
    let refused = dialer.connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("127.0.0.1:{closed}")), "{refused}");
    assert_eq!(call(dialer.lazy()).await.unwrap_err(), refused.to_string(), "calls say the same");
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let (lab, pair) = (Lab::new(), Pair::cilium());
    pair.write(&lab.path("root.pem"));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let dialer = lab.dialer(tls("127.0.0.1", port));
    let accepted = async {
        let _connected = silent.accept().await.unwrap();
        // From now on time passes as soon as there is nothing else to do.
        tokio::time::pause();
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        connected = dialer.connect() => connected.unwrap_err(),
        () = accepted => unreachable!(),
    };
    assert!(matches!(error, ConnectError::Late { .. }), "{error}");
}
