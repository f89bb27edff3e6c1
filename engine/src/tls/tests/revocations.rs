//! Which chains a revocation list takes back.

use rcgen::{KeyUsagePurpose, date_time_ymd};
use rustls::pki_types::CertificateDer;

use super::pki::{Leaf, Pki};
use crate::tls::{PeerChain, Revocations, RevocationsError};

/// Whether lists take back a chain that the peer shows us, whichever side it is on.
fn revoked(pki: &Pki, leaf: &Leaf, lists: &str) -> bool {
    let us = pki.credentials("us");
    let revocations = Revocations::parse(lists.as_bytes()).unwrap();
    let verdicts = [PeerChain::of_client(&us, &leaf.chain), PeerChain::of_server(&us, &leaf.chain)]
        .map(|chain| revocations.revoke(&chain));
    assert_eq!(verdicts[0], verdicts[1]);
    verdicts[0]
}

#[test]
fn a_list_takes_back_what_its_issuer_says_and_nothing_else() {
    let pki = Pki::new("cluster.local");
    // The same name with another key: it can't speak for the first.
    let impostor = Pki::new("cluster.local");
    let other = Pki::new("other.domain");
    let [good, bad] = ["good", "bad"].map(|name| pki.leaf(name));
    let below = pki.leaf_of_intermediate("below");
    let list = |pki: &Pki, certificates: &[&CertificateDer<'static>]| pki.revoke(certificates).pem().unwrap();
    let of_bad = list(&pki, &[&bad.chain[0]]);
    let empty = list(&pki, &[]);
    let forged = list(&impostor, &[&good.chain[0]]);
    let foreign = list(&other, &[&good.chain[0]]);
    let of_intermediate = list(&pki, &[&below.chain[1]]);
    let cases: [(&str, &Leaf, String, bool); 9] = [
        ("it is listed", &bad, of_bad.clone(), true),
        ("another is listed", &good, of_bad.clone(), false),
        ("nothing is listed", &bad, empty.clone(), false),
        ("in the second list of the same issuer", &bad, empty + &of_bad, true),
        ("between other lists", &bad, format!("{foreign}# a comment\n{of_bad}{forged}"), true),
        ("the list is not signed by whom it names", &good, forged.clone(), false),
        ("which hides nothing", &bad, forged + &of_bad, true),
        ("the issuer is another", &good, foreign, false),
        ("the intermediate is listed", &below, of_intermediate, true),
    ];
    for (says, leaf, lists, expected) in cases {
        assert_eq!(revoked(&pki, leaf, &lists), expected, "{says}");
    }
    let der = Revocations::parse(pki.revoke(&[&bad.chain[0]]).der()).unwrap();
    assert!(der.revoke(&PeerChain::of_client(&pki.credentials("us"), &bad.chain)), "a list in DER");
    assert!(!Revocations::default().revoke(&PeerChain::of_client(&pki.credentials("us"), &good.chain)));
}

#[test]
fn nothing_that_a_peer_adds_to_its_chain_hides_what_was_revoked() {
    let pki = Pki::new("cluster.local");
    let [good, bad] = ["good", "bad"].map(|name| pki.leaf(name));
    let list = pki.revoke(&[&bad.chain[0]]).pem().unwrap();
    let expired = pki.namesakes(1, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let crowd = pki.namesakes(12, |_| {});
    for (says, added) in [("an expired namesake of the issuer", expired), ("a crowd of them", crowd)] {
        for (leaf, expected) in [(&good, false), (&bad, true)] {
            let chain = leaf.chain.iter().chain(&added).cloned().collect();
            let longer = Leaf { chain, key: leaf.key.clone_key() };
            assert_eq!(revoked(&pki, &longer, &list), expected, "{says}");
        }
    }
}

#[test]
fn a_chain_that_is_not_believed_counts_as_revoked() {
    let (pki, other) = (Pki::new("cluster.local"), Pki::new("cluster.local"));
    assert!(revoked(&pki, &other.leaf("stranger"), &other.revoke(&[]).pem().unwrap()));
}

#[test]
fn a_list_of_an_issuer_that_may_sign_none_takes_nothing_back_and_is_told() {
    let pki = Pki::new("cluster.local");
    let leaf = |usages: &[KeyUsagePurpose]| {
        let (below, intermediate) = pki.intermediate(|params| params.key_usages = usages.to_vec());
        let mut leaf = below.leaf("below");
        leaf.chain.push(intermediate);
        (leaf, below)
    };
    for (usages, revokes) in [
        (&[KeyUsagePurpose::KeyCertSign][..], false),
        (&[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], true),
        (&[], true),
    ] {
        let (leaf, below) = leaf(usages);
        let lists = pki.revoke(&[]).pem().unwrap() + &below.revoke(&[&leaf.chain[0]]).pem().unwrap();
        let lists = Revocations::parse(lists.as_bytes()).unwrap();
        assert_eq!(lists.unusable().count(), 0, "nobody has needed it");
        let chain = PeerChain::of_client(&pki.credentials("us"), &leaf.chain);
        for _ in 0..2 {
            assert_eq!(lists.revoke(&chain), revokes, "{usages:?}");
            let told: Vec<_> = lists.unusable().collect();
            assert_eq!(told.len(), usize::from(!revokes), "{told:?}");
            for list in told {
                assert_eq!(list.position, 2);
                assert!(list.issuer.ends_with(b"intermediate"), "{list:?}");
                assert!(list.cause.contains("cRLSign"), "{list:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let list = Pki::new("cluster.local").revoke(&[]);
    let cut = &list.der()[..list.der().len() - 1];
    let many = list.pem().unwrap().repeat(65);
    let two = list.pem().unwrap() + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert_eq!(Revocations::parse(list.der()).unwrap().len(), 1);
    assert_eq!(Revocations::parse(b"").unwrap_err(), RevocationsError::Empty);
    assert_eq!(Revocations::parse(b"no list").unwrap_err(), RevocationsError::Empty);
    assert_eq!(Revocations::parse(many.as_bytes()).unwrap_err(), RevocationsError::TooMany { count: 65 });
    for (bytes, at) in [(cut, 1), (two.as_bytes(), 2)] {
        let error = Revocations::parse(bytes).unwrap_err();
        assert!(matches!(error, RevocationsError::Unreadable { position, .. } if position == at), "{error}");
    }
}
