#![allow(clippy::unwrap_used)]

use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};
use rustls_pki_types::CertificateSigningRequestDer;
use time::OffsetDateTime;

use super::*;

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// An authority that signs as Cilium's does: subject and names of the request, and nothing said of usages.
pub(crate) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    pub(crate) fn sign(&self, request: &str) -> Vec<String> {
        let leaf = self.leaf(request, |params| params);
        vec![leaf, self.root.clone()]
    }

    fn leaf(&self, request: &str, change: impl Fn(CertificateParams) -> CertificateParams) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params.not_before = OffsetDateTime::now_utc();
        request.params.not_after = OffsetDateTime::now_utc() + time::Duration::hours(1);
        request.params = change(request.params);
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

fn named(uri: &str) -> impl Fn(CertificateParams) -> CertificateParams {
    move |mut params| {
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params
    }
}

fn signed(answer: impl Fn(&Signer, &str) -> Vec<String>) -> Result<Credentials, SigningError> {
    let (signer, key) = (Signer::new(), SigningKey::generate().unwrap());
    let identity = CART.parse().unwrap();
    let request = key.request(&identity).unwrap();
    credentials(&identity, key, &answer(&signer, &request), Suites::default())
}

#[test]
fn a_request_is_pem_and_names_the_identity_alone() {
    let key = SigningKey::generate().unwrap();
    let pem = key.request(&CART.parse().unwrap()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{pem}");
    let request = CertificateSigningRequestParams::from_pem(&pem).unwrap();
    assert_eq!(request.params.subject_alt_names, [SanType::URI(CART.try_into().unwrap())]);
    assert_eq!(request.params.distinguished_name.iter().count(), 0);
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
    // id-ce-subjectAltName, then TRUE: critical.
    let critical = [0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff];
    assert!(der.windows(critical.len()).any(|window| window == critical));
}

#[test]
fn a_leaf_that_says_nothing_of_usages_is_taken() {
    let credentials = signed(Signer::sign).unwrap();
    assert_eq!(credentials.identity.to_string(), CART);
    assert_eq!(credentials.chain().len(), 1);
}

#[test]
fn several_roots_may_stand_in_the_last_element() {
    let credentials = signed(|signer, request| {
        let [leaf, root] = signer.sign(request).try_into().unwrap();
        vec![leaf, format!("{}{root}", Signer::new().root)]
    });
    let credentials = credentials.unwrap();
    assert_eq!(credentials.bundle().roots(&credentials.identity.trust_domain).len(), 2);
}

#[test]
fn a_wrong_answer_is_refused_and_says_whose_fault_it_is() {
    type Answer = fn(&Signer, &str) -> Vec<String>;
    let cases: [(&str, Answer); 9] = [
        ("it has 0 parts", |_, _| Vec::new()),
        ("it has 1 parts", |signer, request| vec![signer.leaf(request, |params| params)]),
        ("holds no root", |signer, request| vec![signer.leaf(request, |params| params), String::new()]),
        ("TRUST_DOMAIN", |signer, request| {
            let uri = "spiffe://other.domain/ns/shop/sa/cart";
            vec![signer.leaf(request, named(uri)), signer.root.clone()]
        }),
        ("answers for `spiffe://cluster.local/ns/shop/sa/web`", |signer, request| {
            let uri = "spiffe://cluster.local/ns/shop/sa/web";
            vec![signer.leaf(request, named(uri)), signer.root.clone()]
        }),
        ("no peer reads more than 57344", |signer, request| {
            let [leaf, root] = signer.sign(request).try_into().unwrap();
            vec![leaf, root.repeat(300), root]
        }),
        ("private key", |signer, _| {
            let other = SigningKey::generate().unwrap().request(&CART.parse().unwrap()).unwrap();
            signer.sign(&other)
        }),
        ("not issued by a root", |signer, request| {
            vec![signer.leaf(request, |params| params), Signer::new().root]
        }),
        ("expired", |signer, request| {
            let leaf = signer.leaf(request, |mut params| {
                params.not_before = OffsetDateTime::now_utc() - time::Duration::days(2);
                params.not_after = OffsetDateTime::now_utc() - time::Duration::days(1);
                params
            });
            vec![leaf, signer.root.clone()]
        }),
    ];
    for (problem, answer) in cases {
        let error = signed(answer).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn a_connection_that_broke_is_no_refusal() {
    let mut status = Status::unknown("workload not found");
    assert!(matches!(SigningError::of(&status, String::new()), SigningError::Refused { .. }));
    status.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
    assert!(matches!(SigningError::of(&status, String::new()), SigningError::Call { .. }));
    let too_long = Status::out_of_range("decoded message length too large");
    assert!(matches!(SigningError::of(&too_long, String::new()), SigningError::Answer { .. }));
}
