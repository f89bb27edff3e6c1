#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proto::ca::IstioCertificateResponse;
use proto::ca::istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response};

use super::*;
use crate::certificates::signing::tests::Signer;
use crate::environment::{ChannelSettings, Endpoint};

/// What an authority of a test does.
struct Authority {
    signer: Signer,
    /// Requests that may be answered.
    permits: Semaphore,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    asked: AtomicUsize,
    refuses: bool,
    /// Of the last request: for whom it said it was.
    named: Mutex<Option<String>>,
}

struct Served(Arc<Authority>);

#[tonic::async_trait]
impl IstioCertificateService for Served {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, tonic::Status> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let under_way = self.0.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        self.0.permits.acquire().await.unwrap().forget();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        let request = request.into_inner();
        assert_eq!(request.validity_duration, 3_600);
        *self.0.named.lock().unwrap() = request.metadata.map(|metadata| {
            let Some(Kind::StringValue(identity)) = &metadata.fields["ImpersonatedIdentity"].kind else {
                panic!()
            };
            identity.clone()
        });
        if self.0.refuses {
            return Err(tonic::Status::unknown(
                "no endpoints found for service account cart in namespace shop",
            ));
        }
        Ok(Response::new(IstioCertificateResponse { cert_chain: self.0.signer.sign(&request.csr) }))
    }
}

struct Lab {
    _directory: TempDir,
    authority: Arc<Authority>,
    wants: watch::Sender<Wants>,
    events: mpsc::Receiver<CertificateEvent>,
    status: Status,
}

impl Lab {
    /// A source, and an authority that answers so many requests.
    fn new(permits: usize, refuses: bool) -> Self {
        let (lab, source, wanted, sender) = Self::prepared(permits, refuses);
        tokio::spawn(source.run(wanted, sender));
        lab
    }

    /// The same before it runs.
    fn prepared(
        permits: usize,
        refuses: bool,
    ) -> (Self, IstioCa, watch::Receiver<Wants>, mpsc::Sender<CertificateEvent>) {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("ca.sock");
        let authority = Arc::new(Authority {
            signer: Signer::new(),
            permits: Semaphore::new(permits),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            refuses,
            named: Mutex::default(),
        });
        let listener = UnixListener::bind(&socket).unwrap();
        let service = IstioCertificateServiceServer::new(Served(Arc::clone(&authority)));
        tokio::spawn(Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener)));
        let channel = ChannelSettings {
            endpoint: Endpoint::Unix(socket),
            root: Root::File(PathBuf::new()),
            alternative_name: None,
            token: None,
            headers: Vec::new(),
        };
        let settings = IstioCaSettings { channel, ttl: Duration::from_secs(3_600), on_behalf: true };
        let status = Status::default();
        let (wants, wanted) = watch::channel(Wants::new());
        let (sender, events) = mpsc::channel(64);
        let source = IstioCa::new(&settings, "c1", Suites::default(), status.clone()).unwrap();
        (Self { _directory: directory, authority, wants, events, status }, source, wanted, sender)
    }

    fn want(&self, accounts: &[String]) {
        let identity =
            |account: &String| format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap();
        self.wants
            .send_replace(accounts.iter().map(|account| (identity(account), BTreeSet::new())).collect());
    }

    async fn next(&mut self) -> CertificateEvent {
        self.events.recv().await.unwrap()
    }
}

#[tokio::test]
async fn what_is_wanted_is_obtained() {
    let mut lab = Lab::new(100, false);
    lab.want(&["cart".to_owned(), "web".to_owned()]);
    let mut obtained = BTreeMap::new();
    for _ in 0..2 {
        let CertificateEvent::Obtained { holder, credentials } = lab.next().await else { panic!() };
        assert_eq!(holder.identity, credentials.identity);
        assert_eq!(holder.pod, None);
        obtained.insert(holder.identity.service_account.to_string(), credentials);
    }
    assert_eq!(obtained.keys().collect::<Vec<_>>(), ["cart", "web"]);
    assert!(lab.status.read(|state| state.planes[&Plane::Certificates].connected));
    assert_eq!(lab.authority.asked.load(Ordering::Relaxed), 2, "once each");
}

/// Contract 1.5: for whom a request is, is said in shared mode; in dedicated mode the workload asks itself.
#[tokio::test]
async fn only_the_proxy_of_a_node_says_for_whom_it_asks() {
    let identity = "spiffe://cluster.local/ns/shop/sa/cart".to_owned();
    for (on_behalf, said) in [(true, Some(identity)), (false, None)] {
        let (mut lab, mut source, wanted, sender) = Lab::prepared(100, false);
        source.on_behalf = on_behalf;
        tokio::spawn(source.run(wanted, sender));
        lab.want(&["cart".to_owned()]);
        assert!(matches!(lab.next().await, CertificateEvent::Obtained { .. }));
        assert_eq!(*lab.authority.named.lock().unwrap(), said);
    }
}

#[tokio::test]
async fn few_requests_are_under_way_at_a_time() {
    let mut lab = Lab::new(0, false);
    let accounts: Vec<String> = (0..20).map(|number| format!("account-{number}")).collect();
    lab.want(&accounts);
    for _ in 0..20 {
        while lab.authority.under_way.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        lab.authority.permits.add_permits(1);
        assert!(matches!(lab.next().await, CertificateEvent::Obtained { .. }));
    }
    let most = lab.authority.most_under_way.load(Ordering::Relaxed);
    assert!((1..=REQUESTS_MAX).contains(&most), "{most}");
}

#[tokio::test]
async fn a_refusal_is_passed_on_and_the_request_repeated() {
    let mut lab = Lab::new(100, true);
    lab.want(&["cart".to_owned()]);
    for _ in 0..2 {
        let CertificateEvent::Failed { cause, .. } = lab.next().await else { panic!() };
        assert!(cause.contains("no endpoints found for service account cart in namespace shop"), "{cause}");
    }
    let error = lab.status.read(|state| state.planes[&Plane::Certificates].error.clone());
    assert!(error.unwrap().contains("no endpoints found"));
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_hangs_is_given_up_and_asked_again() {
    let mut lab = Lab::new(0, false);
    lab.want(&["cart".to_owned()]);
    let CertificateEvent::Failed { cause, .. } = lab.next().await else { panic!() };
    assert!(cause.contains("did not answer in time"), "{cause}");
    assert!(!lab.status.read(|state| state.planes[&Plane::Certificates].connected));
    lab.authority.permits.add_permits(100);
    assert!(matches!(lab.next().await, CertificateEvent::Obtained { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_at_half_of_its_life() {
    let mut lab = Lab::new(100, false);
    lab.want(&["cart".to_owned()]);
    assert!(matches!(lab.next().await, CertificateEvent::Obtained { .. }));
    let first = Instant::now();
    assert!(matches!(lab.next().await, CertificateEvent::Obtained { .. }));
    let minutes = first.elapsed().as_secs_f64() / 60.0;
    assert!((23.9..=30.0).contains(&minutes), "{minutes}");
}

#[tokio::test]
async fn a_panic_of_a_request_is_the_sources_own() {
    let (_lab, mut source, wanted, sender) = Lab::prepared(0, false);
    source.under_way.spawn(async { panic!("a defect") });
    let ended = tokio::spawn(source.run(wanted, sender)).await;
    assert!(ended.unwrap_err().is_panic());
}

#[tokio::test]
async fn an_authority_that_was_asked_and_has_not_answered_is_told_of() {
    let lab = Lab::new(0, false);
    lab.want(&["cart".to_owned()]);
    while lab.authority.under_way.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let plane = lab.status.read(|state| state.planes[&Plane::Certificates].clone());
    assert_eq!((plane.connected, plane.error.as_deref()), (false, Some("waiting for the first certificate")));
}
