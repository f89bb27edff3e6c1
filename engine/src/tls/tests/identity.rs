//! Certificates that are refused: by both roles alike, with the reason, and with the alert that fits.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose, date_time_ymd};
use rustls::AlertDescription;

use super::link::{Cut, Link, Peer, ROLES, Role};
use super::pki::{Leaf, Pki, uris};
use crate::mesh::TrustDomain;
use crate::tls::{
    BundleError, CertificateFacts, CertificateFault, Credentials, CredentialsError, Fault, Suites, TlsError,
    TrustBundle, Utc,
};

const PEER: &str = "spiffe://cluster.local/ns/shop/sa/peer";

/// When a refusal that speaks of the clock is compared: the two roles refuse one after the other, and a second may end between them.
const WHENEVER: Utc = Utc::from_seconds(0);

/// The peer shows `leaf`; both roles must refuse it with an error that has all of `words`, and send `alert`.
///
/// Our clock in the fault is held against the real one, and then is [`WHENEVER`].
fn refused(pki: &Pki, leaf: impl Fn() -> Leaf, alert: AlertDescription, words: &[&str]) -> CertificateFault {
    let mut faults = ROLES.map(|role| {
        let peer = Peer::with_leaf(leaf()).start(role, &pki.root);
        let before = Utc::from(SystemTime::now());
        let connected = Link::connect(role, &pki.credentials("us"), peer, &mut Cut::Whole);
        let after = Utc::from(SystemTime::now());
        let (error, verdict) = *connected.err().expect("the peer's certificate is refused");
        for word in words {
            assert!(error.to_string().contains(word), "`{word}` is missing in: {error}");
        }
        assert_eq!(error.fault(), Fault::Peer);
        assert_eq!(verdict, Err(rustls::Error::AlertReceived(alert)), "{role:?}");
        let TlsError::Certificate(mut fault) = error else { panic!("not about the certificate: {error}") };
        if let CertificateFault::Expired { now, .. } | CertificateFault::NotYetValid { now, .. } = &mut fault
        {
            assert!((before..=after).contains(now), "{now} is not within {before} and {after}");
            *now = WHENEVER;
        }
        Some(fault)
    });
    assert_eq!(faults[0], faults[1]);
    faults[0].take().unwrap()
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> impl FnOnce(&mut CertificateParams) {
    |params| {
        params.subject_alt_names = uris(&[PEER]);
        change(params);
    }
}

#[test]
fn an_expired_certificate_is_refused_with_both_clocks() {
    let pki = Pki::new("cluster.local");
    let leaf = || pki.leaf_with(with(|params| params.not_after = date_time_ymd(2020, 2, 29)));
    let words = ["it was valid until 2020-02-29 00:00:00 UTC", "our clock says 20", "clock skew"];
    let fault = refused(&pki, leaf, AlertDescription::CertificateExpired, &words);
    assert_eq!(
        fault,
        CertificateFault::Expired { now: WHENEVER, not_after: Utc::from_seconds(1_582_934_400) }
    );
}

#[test]
fn a_certificate_of_the_future_is_refused_with_both_clocks() {
    let pki = Pki::new("cluster.local");
    let leaf = || pki.leaf_with(with(|params| params.not_before = date_time_ymd(3000, 1, 1)));
    let words = ["it is valid from 3000-01-01 00:00:00 UTC", "our clock says 20", "clock skew"];
    let fault = refused(&pki, leaf, AlertDescription::CertificateExpired, &words);
    assert_eq!(
        fault,
        CertificateFault::NotYetValid { now: WHENEVER, not_before: Utc::from_seconds(32_503_680_000) }
    );
}

#[test]
fn an_unknown_root_is_refused() {
    let pki = Pki::new("cluster.local");
    let stranger = Pki::new("cluster.local");
    let words = ["not issued by a root we hold", "`cluster.local`", "compare the trust bundles"];
    let fault = refused(&pki, || stranger.leaf("peer"), AlertDescription::UnknownCA, &words);
    assert!(matches!(fault, CertificateFault::UnknownRoot { .. }));
}

#[test]
fn another_trust_domain_is_refused_with_both_names() {
    let pki = Pki::new("cluster.local");
    let other = Pki::new("other.org");
    let words = ["trust domain `other.org`", "we are of `cluster.local`", "roots for `cluster.local` only"];
    let fault = refused(&pki, || other.leaf("peer"), AlertDescription::UnknownCA, &words);
    assert!(matches!(fault, CertificateFault::TrustDomain { .. }));
}

#[test]
fn a_root_can_not_vouch_for_another_trust_domain() {
    let ours = Pki::new("cluster.local");
    let other = Pki::new("other.org");
    let mut bundle = ours.bundle();
    bundle.insert(other.trust_domain.clone(), vec![other.root.clone()]).unwrap();
    for role in ROLES {
        // Both are trusted, each for its own.
        let peer = Peer::with_leaf(other.leaf("peer")).start(role, &ours.root);
        let credentials = ours.leaf("us").credentials(&bundle);
        let link = Link::connect(role, &credentials, peer, &mut Cut::Whole).unwrap();
        assert_eq!(link.ours.peer, other.identity("peer"));

        let forged = other.leaf_with(with(|_| {}));
        let peer = Peer::with_leaf(forged).start(role, &ours.root);
        let (error, _) = *Link::connect(role, &credentials, peer, &mut Cut::Whole).err().unwrap();
        assert!(matches!(error, TlsError::Certificate(CertificateFault::UnknownRoot { .. })), "{error}");
    }
}

#[test]
fn a_certificate_must_name_exactly_one_workload() {
    let pki = Pki::new("cluster.local");
    let names = |names: &'static [&'static str]| {
        let pki = &pki;
        move || pki.leaf_with(|params| params.subject_alt_names = uris(names))
    };
    let alert = AlertDescription::BadCertificate;
    assert_eq!(refused(&pki, names(&[]), alert, &["names no workload"]), CertificateFault::NoIdentity);
    let two = &[PEER, "spiffe://cluster.local/ns/shop/sa/other"];
    assert_eq!(
        refused(&pki, names(two), alert, &["2 URI SANs", "exactly one"]),
        CertificateFault::SeveralIdentities { count: 2 }
    );
    let twice = &[PEER, "https://cluster.local/"];
    refused(&pki, names(twice), alert, &["2 URI SANs"]);
    for text in ["https://cluster.local/", "spiffe://cluster.local/ns/shop", "spiffe://cluster.local"] {
        let leaf = || pki.leaf_with(|params| params.subject_alt_names = uris(&[text]));
        let fault = refused(&pki, leaf, alert, &[text, "spiffe://<trust domain>/ns/"]);
        assert_eq!(fault, CertificateFault::NotAnIdentity { presented: text.to_owned() });
    }
}

#[test]
fn a_name_in_an_error_is_bounded() {
    let pki = Pki::new("cluster.local");
    let long = format!("https://{}", "x".repeat(5_000));
    let leaf = || pki.leaf_with(|params| params.subject_alt_names = uris(&[&long]));
    let fault = refused(&pki, leaf, AlertDescription::BadCertificate, &["https://xxx"]);
    assert!(fault.to_string().len() < 500);
}

#[test]
fn other_names_beside_the_identity_are_no_matter() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        let leaf = pki.leaf_with(with(|params| {
            params.subject_alt_names.push(rcgen::SanType::DnsName("cart.shop.svc".try_into().unwrap()));
        }));
        let peer = Peer::with_leaf(leaf).start(role, &pki.root);
        let link = Link::connect(role, &pki.credentials("us"), peer, &mut Cut::Whole).unwrap();
        assert_eq!(link.ours.peer.to_string(), PEER);
    }
}

/// The leaves of Cilium's CA have neither KeyUsage nor ExtendedKeyUsage; ours and Istio's have both.
#[test]
fn usages_are_required_only_where_they_are_restricted() {
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for (usages, accepted) in [
            (vec![], true),
            (vec![ServerAuth, ClientAuth], true),
            (vec![ServerAuth], role == Role::Client),
            (vec![ClientAuth], role == Role::Server),
            (vec![CodeSigning], false),
        ] {
            let leaf = pki.leaf_with(with(|params| {
                if !usages.is_empty() {
                    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                }
                params.extended_key_usages.clone_from(&usages);
            }));
            let peer = Peer::with_leaf(leaf).start(role, &pki.root);
            let connected = Link::connect(role, &pki.credentials("us"), peer, &mut Cut::Whole);
            assert_eq!(connected.is_ok(), accepted, "{role:?} {usages:?}");
        }
    }
}

#[test]
fn a_client_without_certificate_is_refused() {
    let pki = Pki::new("cluster.local");
    let mut peer = Peer::new(&pki);
    peer.leaf = None;
    let peer = peer.start(Role::Server, &pki.root);
    let refused = Link::connect(Role::Server, &pki.credentials("us"), peer, &mut Cut::Whole);
    let (error, verdict) = *refused.err().unwrap();
    assert!(matches!(error, TlsError::NoCertificate), "{error}");
    let alert = AlertDescription::CertificateRequired;
    assert_eq!(verdict, Err(rustls::Error::AlertReceived(alert)));
}

#[test]
fn credentials_know_who_and_how_long() {
    let pki = Pki::new("cluster.local");
    let leaf = pki.leaf_with(with(|params| {
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2100, 3, 1);
    }));
    let chain = leaf.chain.clone();
    let credentials = leaf.credentials(&pki.bundle());
    assert_eq!(credentials.identity, pki.identity("peer"));
    assert_eq!(credentials.not_before, SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_800));
    assert_eq!(credentials.not_after, SystemTime::UNIX_EPOCH + Duration::from_secs(4_107_542_400));
    assert_eq!(credentials.chain(), chain);
    assert_eq!(*credentials.bundle(), pki.bundle());
    let printed = format!("{credentials:?}");
    assert!(printed.contains("peer") && !printed.to_lowercase().contains("key"), "{printed}");
}

#[test]
fn credentials_know_whether_they_would_be_believed() {
    let pki = Pki::new("cluster.local");
    let now = SystemTime::now();
    assert_eq!(pki.credentials("us").verify(now), Ok(()));
    assert_eq!(pki.leaf_of_intermediate("us").credentials(&pki.bundle()).verify(now), Ok(()));
    let stranger = Pki::new("cluster.local").bundle();
    let unknown = CertificateFault::UnknownRoot { trust_domain: "cluster.local".to_owned() };
    assert_eq!(pki.leaf("us").credentials(&stranger).verify(now), Err(unknown));
    let in_time = pki.leaf_with(with(|params| params.not_after = date_time_ymd(2030, 1, 1)));
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_001);
    let in_time = in_time.credentials(&pki.bundle());
    assert_eq!(in_time.verify(late - Duration::from_secs(1)), Ok(()));
    assert!(matches!(in_time.verify(late), Err(CertificateFault::Expired { .. })));
    let half = pki.leaf_with(with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }));
    assert!(half.credentials(&pki.bundle()).verify(now).is_err(), "a workload is client and server");
}

#[test]
fn facts_are_read_from_any_certificate() {
    let pki = Pki::new("cluster.local");
    let root = CertificateFacts::read(&pki.root).unwrap();
    assert!(root.is_authority);
    for (from, until) in
        [((1965, 1, 1), (1975, 1, 1)), ((1970, 1, 1), (2049, 12, 31)), ((2050, 1, 1), (9999, 1, 1))]
    {
        let leaf = pki.leaf_with(|params| {
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
        });
        let facts = CertificateFacts::read(&leaf.chain[0]);
        if from.0 < 1970 {
            assert!(facts.is_err(), "webpki reads no time before 1970");
            continue;
        }
        let facts = facts.unwrap();
        assert_eq!(facts.not_before.to_string()[..10], format!("{:04}-{:02}-{:02}", from.0, from.1, from.2));
        assert_eq!(
            facts.not_after.to_string()[..10],
            format!("{:04}-{:02}-{:02}", until.0, until.1, until.2)
        );
        assert!(!facts.is_authority);
    }
}

#[test]
fn credentials_that_can_not_work_are_refused_at_once() {
    let pki = Pki::new("cluster.local");
    let bundle = pki.bundle();
    let new = |chain, key, bundle: &TrustBundle| {
        Credentials::new(chain, key, bundle, Suites::default()).err().unwrap()
    };

    let (one, other) = (pki.leaf("one"), pki.leaf("other"));
    let error = new(vec![], other.key.clone_key(), &bundle);
    assert_eq!(error, CredentialsError::NoCertificate);
    let error = new(one.chain.clone(), other.key, &bundle);
    assert_eq!(error, CredentialsError::KeyMismatch { identity: pki.identity("one") });
    let error =
        new(one.chain.clone(), rustls::pki_types::PrivatePkcs8KeyDer::from(vec![1, 2, 3]).into(), &bundle);
    assert!(matches!(error, CredentialsError::Key { .. }), "{error}");
    let error = new(vec![vec![0x30, 0].into()], one.key.clone_key(), &bundle);
    assert!(matches!(error, CredentialsError::Certificate(CertificateFault::Unusable { .. })), "{error}");
    let nameless = pki.leaf_with(|_| {});
    let error = new(nameless.chain, nameless.key, &bundle);
    assert_eq!(error, CredentialsError::Certificate(CertificateFault::NoIdentity));
    let error = new(one.chain, one.key, &Pki::new("other.org").bundle());
    assert_eq!(error, CredentialsError::NoRoots { trust_domain: pki.trust_domain });
}

#[test]
fn a_bundle_holds_roots_that_can_be_read() {
    let pki = Pki::new("cluster.local");
    let trust_domain = TrustDomain::new("cluster.local");
    let mut bundle = TrustBundle::default();
    let error = bundle.insert(trust_domain.clone(), vec![]).unwrap_err();
    assert_eq!(error, BundleError::Empty { trust_domain: trust_domain.clone() });
    let error = bundle.insert(trust_domain.clone(), vec![pki.root.clone(), vec![1].into()]).unwrap_err();
    assert!(error.to_string().contains("root certificate 2 of trust domain `cluster.local`"), "{error}");
    assert!(bundle.roots(&trust_domain).is_empty());

    bundle.insert(trust_domain.clone(), vec![pki.root.clone()]).unwrap();
    assert_eq!(bundle.roots(&trust_domain), std::slice::from_ref(&pki.root));
    assert_eq!(bundle.trust_domains().collect::<Vec<_>>(), [&trust_domain]);
    assert_eq!(bundle, pki.bundle());
    assert_ne!(bundle, Pki::new("cluster.local").bundle());
    assert_ne!(bundle, TrustBundle::default());
}
