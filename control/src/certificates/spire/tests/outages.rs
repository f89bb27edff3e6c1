//! Agents that are away, say no, say nothing, or end what they began.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::Status;

use super::authority::{Validity, message};
use super::scene::{CART, Scene, WEB};
use crate::status::Plane;

/// Whatever is wrong with the agent is told, one stream knocks, and nothing is asked for a pod until it is there.
#[tokio::test(start_paused = true)]
async fn an_agent_that_says_no_is_asked_again_by_one_stream() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART, WEB]);
    for _ in 0..5 {
        let bundles = scene.bundle_stream().await;
        bundles.answers.send(Err(Status::permission_denied("no identity issued"))).unwrap();
    }
    for _ in 0..2 {
        assert!(scene.failed().await.contains("registration entry for this proxy"));
    }
    scene.status.read(|state| {
        let plane = &state.planes[&Plane::Certificates];
        assert!(!plane.connected && plane.error.as_ref().unwrap().contains("no identity issued"));
    });
    assert!(scene.opened.svids.try_recv().is_err());
    let _roots = scene.rooted_bundle_stream().await;
    let _streams = [scene.svid_stream().await, scene.svid_stream().await];
    scene.status.read(|state| assert!(state.planes[&Plane::Certificates].connected));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_opened_again_and_nothing_is_lost() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let svid = scene.authority.svid(CART);
    let mut stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![svid.clone()]))).unwrap();
    let (_, before) = scene.obtained().await;
    for end in
        [None, Some(Status::unavailable("closing")), Some(Status::permission_denied("no identity issued"))]
    {
        match end {
            Some(status) => stream.answers.send(Err(status)).unwrap(),
            None => drop(stream),
        }
        scene.failed().await;
        stream = scene.svid_stream().await;
        stream.answers.send(Ok(message(vec![svid.clone()]))).unwrap();
        let (_, again) = scene.obtained().await;
        assert!(Arc::ptr_eq(&before, &again), "still good, and not built anew");
        scene.expect_silence(1).await;
    }
}

/// An agent that has just started may not have all of its entries yet: longer than usual is waited.
#[tokio::test(start_paused = true)]
async fn an_empty_beginning_is_given_time() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    drop(stream);
    scene.failed().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![]))).unwrap();
    scene.expect_silence(12).await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_is_told_so() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let begun = Instant::now();
    let silent = scene.bundle_stream().await;
    let cause = scene.failed().await;
    assert!(cause.contains("did not answer within 10 s"), "{cause}");
    assert!(begun.elapsed() >= Duration::from_secs(10));
    silent.answers.closed().await;

    let _roots = scene.rooted_bundle_stream().await;
    let _silent = scene.svid_stream().await;
    assert!(scene.failed().await.contains("did not answer"));
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
}

/// A burst of streams makes a real agent hang for good.
#[tokio::test(start_paused = true)]
async fn few_streams_are_opened_at_a_time() {
    let mut scene = Scene::selectors(&[]);
    let identities: Vec<String> =
        (0..100).map(|n| format!("spiffe://cluster.local/ns/shop/sa/pod-{n}")).collect();
    scene.want(&identities.iter().map(String::as_str).collect::<Vec<_>>());
    let _roots = scene.rooted_bundle_stream().await;
    let mut streams = Vec::new();
    let mut moments = BTreeSet::new();
    for _ in 0..32 {
        streams.push(scene.svid_stream().await);
        moments.insert(Instant::now());
    }
    assert!(moments.len() > 3, "not all in the same moment");
    assert!(timeout(Duration::from_secs(5), scene.opened.svids.recv()).await.is_err(), "one too many");
    for answered in 0..68 {
        streams[answered].answers.send(Ok(message(vec![]))).unwrap();
        streams.push(scene.svid_stream().await);
    }
    assert_eq!(streams.len(), 100);
}

/// Streams are silent for as long as there is no news.
#[tokio::test(start_paused = true)]
async fn an_open_stream_has_no_deadline() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    scene.expect_silence(24 * 3_600).await;
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
}

/// A stream may stand and its agent not work: certificates that should have been renewed are the only sign of it.
#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_renew_is_told_of_and_asked_again() {
    let mut scene = Scene::selectors(&[]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![scene.authority.svid_that_is(CART, Validity::Ending)]))).unwrap();
    scene.obtained().await;
    assert!(scene.failed().await.contains("has not renewed it"));
    let again = scene.svid_stream().await;
    again.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    scene.expect_silence(600).await;
}
