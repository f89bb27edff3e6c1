//! Which SVID is used, and when.

use std::sync::Arc;

use engine::mesh::TrustDomain;
use rustls_pki_types::CertificateDer;

use super::authority::{Authority, Validity, message};
use super::scene::{CART, Scene, WEB, roots};

#[tokio::test(start_paused = true)]
async fn the_svid_of_exactly_this_identity_is_used_wherever_it_stands() {
    for at in 0..3 {
        let mut scene = Scene::selectors(&[]);
        scene.want(&[CART]);
        let _roots = scene.rooted_bundle_stream().await;
        let stream = scene.svid_stream().await;
        let selectors: Vec<String> = stream
            .asked
            .selectors
            .iter()
            .map(|selector| format!("{}:{}", selector.r#type, selector.value))
            .collect();
        assert_eq!(
            (stream.asked.pid, selectors),
            (0, vec!["k8s:ns:shop".to_owned(), "k8s:sa:cart".to_owned()])
        );

        let others = [WEB, "spiffe://cluster.local/ztunnel"];
        let mut svids: Vec<_> = others.iter().map(|id| scene.authority.svid(id)).collect();
        let ours = scene.authority.svid(CART);
        svids.insert(at, ours.clone());
        stream.answers.send(Ok(message(svids))).unwrap();
        let (holder, credentials) = scene.obtained().await;
        assert_eq!((holder.identity.to_string(), holder.pod), (CART.to_owned(), None));
        assert_eq!(
            credentials.chain(),
            [CertificateDer::from(ours.x509_svid.unwrap().cert_chain[0].clone())]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_used_at_once_and_repetitions_change_nothing() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let bundles = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    let [first, second] = [scene.authority.svid(CART), scene.authority.svid(CART)];
    stream.answers.send(Ok(message(vec![first.clone()]))).unwrap();
    let (_, before) = scene.obtained().await;
    for _ in 0..3 {
        stream.answers.send(Ok(message(vec![first.clone()]))).unwrap();
        bundles.answers.send(Ok(scene.roots())).unwrap();
    }
    scene.expect_silence(600).await;
    stream.answers.send(Ok(message(vec![second]))).unwrap();
    let (_, after) = scene.obtained().await;
    assert_ne!(before.chain(), after.chain());
}

/// Every pod gets the new roots with the certificate it has.
#[tokio::test(start_paused = true)]
async fn changed_roots_rebuild_what_is_in_use() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART, WEB]);
    let bundles = scene.rooted_bundle_stream().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let stream = scene.svid_stream().await;
        let id = if stream.asked.selectors[1].value == "sa:cart" { CART } else { WEB };
        stream.answers.send(Ok(message(vec![scene.authority.svid(id)]))).unwrap();
        streams.push(stream);
    }
    let mut before = [scene.obtained().await, scene.obtained().await];
    before.sort_by_key(|(holder, _)| holder.clone());
    let next = Authority::new();
    bundles.answers.send(Ok(roots(&[&scene.authority, &next]))).unwrap();
    let mut after = [scene.obtained().await, scene.obtained().await];
    after.sort_by_key(|(holder, _)| holder.clone());
    for ((_, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before.chain(), after.chain());
        assert_eq!(after.bundle().roots(&TrustDomain::new("cluster.local")).len(), 2);
    }
    // The old root goes while the certificates are still its own: it is trusted no more, and that is told.
    bundles.answers.send(Ok(roots(&[&next]))).unwrap();
    let (_, cut) = scene.obtained().await;
    assert_eq!(cut.bundle().roots(&TrustDomain::new("cluster.local")).len(), 1);
    assert!(scene.failed().await.contains("not believed any more"));
}

#[tokio::test(start_paused = true)]
async fn an_svid_that_comes_before_its_root_is_used_when_the_root_comes() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let bundles = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    let (_, first) = scene.obtained().await;
    let next = Authority::new();
    stream.answers.send(Ok(message(vec![next.svid(CART)]))).unwrap();
    assert!(scene.failed().await.contains("is not used"));
    bundles.answers.send(Ok(roots(&[&scene.authority, &next]))).unwrap();
    let (_, second) = scene.obtained().await;
    assert_ne!(first.chain(), second.chain());
}

#[tokio::test(start_paused = true)]
async fn an_expired_svid_is_never_used() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    let expired = scene.authority.svid_that_is(CART, Validity::Expired);
    stream.answers.send(Ok(message(vec![expired.clone()]))).unwrap();
    assert!(scene.failed().await.contains("is not used"));
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    stream.answers.send(Ok(message(vec![expired]))).unwrap();
    assert!(scene.failed().await.contains("is not used"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_message_is_no_withdrawal_until_it_stays() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    // Before the entry is made: a message without SVIDs, again when it is there, then the full one.
    stream.answers.send(Ok(message(vec![]))).unwrap();
    assert!(scene.failed().await.contains("no registration entry"));
    stream.answers.send(Ok(message(vec![]))).unwrap();
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    // Replaced by two calls: gone at one sync, and there again at the next.
    stream.answers.send(Ok(message(vec![]))).unwrap();
    scene.expect_silence(12).await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    // Deleted.
    stream.answers.send(Ok(message(vec![]))).unwrap();
    assert!(scene.withdrawn().await.contains("no registration entry"));
    // And made again, on the same stream.
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    scene.expect_silence(60).await;
}

#[tokio::test(start_paused = true)]
async fn what_came_instead_is_named() {
    for (came, words) in [
        ("spiffe://spire/ns/shop/sa/cart", ["`spiffe://spire/ns/shop/sa/cart`", "TRUST_DOMAIN"]),
        ("spiffe://cluster.local/ztunnel", ["`spiffe://cluster.local/ztunnel`", "selectors"]),
    ] {
        let mut scene = Scene::selectors(&[]);
        scene.want(&[CART]);
        let _roots = scene.rooted_bundle_stream().await;
        let stream = scene.svid_stream().await;
        stream.answers.send(Ok(message(vec![scene.authority.svid(came)]))).unwrap();
        let cause = scene.failed().await;
        assert!(cause.contains(&format!("`{CART}`")), "{cause}");
        for word in words {
            assert!(cause.contains(word), "{cause}");
        }
    }
}

/// The names in the message are right and those in the certificate are not.
#[tokio::test(start_paused = true)]
async fn the_certificate_itself_is_looked_at() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    let mut false_one = scene.authority.svid(WEB);
    false_one.x509_svid.as_mut().unwrap().id = scene.authority.svid(CART).x509_svid.unwrap().id;
    stream.answers.send(Ok(message(vec![false_one]))).unwrap();
    let cause = scene.failed().await;
    assert!(cause.contains(CART) && cause.contains(WEB), "{cause}");
    let mut without_key = scene.authority.svid(CART);
    without_key.x509_svid_key = scene.authority.svid(CART).x509_svid_key;
    stream.answers.send(Ok(message(vec![without_key]))).unwrap();
    assert!(scene.failed().await.contains("does not belong"));
}

#[tokio::test(start_paused = true)]
async fn streams_come_and_go_with_what_is_wanted() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let cart = scene.svid_stream().await;
    cart.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    scene.want(&[WEB]);
    let web = scene.svid_stream().await;
    assert_eq!(web.asked.selectors[1].value, "sa:web");
    cart.answers.closed().await;
    assert!(!web.answers.is_closed());
}

/// An open stream of roots goes on naming a trust domain that was removed; a new one does not.
#[tokio::test(start_paused = true)]
async fn roots_of_others_are_asked_for_anew_now_and_then() {
    let mut scene = Scene::selectors(&["partner"]);
    let partner = TrustDomain::new("partner");
    scene.want(&[CART]);
    let other = Authority::new();
    let mut with_partner = scene.roots();
    with_partner.ca_certificates.insert("spiffe://partner".to_owned(), other.root.clone());
    with_partner.ca_certificates.insert("spiffe://stranger".to_owned(), other.root);
    let bundles = scene.bundle_stream().await;
    bundles.answers.send(Ok(with_partner)).unwrap();
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    let (_, credentials) = scene.obtained().await;
    assert_eq!(credentials.bundle().roots(&partner).len(), 1);
    assert!(credentials.bundle().roots(&TrustDomain::new("stranger")).is_empty());

    let _again = scene.rooted_bundle_stream().await;
    let (_, credentials) = scene.obtained().await;
    assert!(credentials.bundle().roots(&partner).is_empty());
    assert!(bundles.answers.is_closed());
}

#[tokio::test(start_paused = true)]
async fn keys_are_not_written_down() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    let svid = scene.authority.svid(CART);
    let identity = CART.parse().unwrap();
    let picked = super::super::svid::pick(message(vec![svid.clone()]), &identity).unwrap();
    assert_eq!(format!("{picked:?}"), "Svid { certificates: 1, .. }");
    stream.answers.send(Ok(message(vec![svid]))).unwrap();
    let (_, credentials) = scene.obtained().await;
    assert!(!format!("{:?}", Arc::clone(&credentials)).contains("key"));
}
