//! Which chains a revocation list takes back.

use rustls::pki_types::CertificateDer;

use super::pki::{Leaf, Pki};
use crate::tls::{PeerChain, Revocations, RevocationsError};

/// Whether lists take back a chain that the peer shows us, whichever side it is on.
fn revoked(pki: &Pki, leaf: &Leaf, lists: &str) -> bool {
    let us = pki.credentials("us");
    let revocations = Revocations::parse(lists.as_bytes()).unwrap();
    let chain = || -> Vec<CertificateDer<'static>> { leaf.chain.clone() };
    let verdicts = [PeerChain::of_client(&us, chain()), PeerChain::of_server(&us, chain())]
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
    assert!(der.revoke(&PeerChain::of_client(&pki.credentials("us"), bad.chain)), "a list in DER");
    assert!(!Revocations::default().revoke(&PeerChain::of_client(&pki.credentials("us"), good.chain)));
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
