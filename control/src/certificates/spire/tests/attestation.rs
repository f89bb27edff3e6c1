//! Attestation by process: which one is named, and what happens when it is another one.

use std::time::Duration;

use tokio::time::Instant;

use super::authority::message;
use super::scene::{CART, Scene};
use crate::certificates::spire::agent::OPENING_PAUSE_MILLIS_MAX;
use crate::certificates::spire::subscription::START_PAUSE_SECONDS;
use crate::status::Plane;

#[tokio::test(start_paused = true)]
async fn a_process_of_the_pod_is_named_and_the_pod_gets_the_certificate() {
    let mut scene = Scene::processes();
    scene.pods.run("cart", &[0, 71, 72]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    assert_eq!((stream.asked.pid, stream.asked.selectors.len()), (71, 0));
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    let (holder, _) = scene.obtained().await;
    assert_eq!(holder.pod.as_deref(), Some("cart"));
    scene.status.read(|state| assert!(state.planes[&Plane::ContainerRuntime].connected));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_not_started_is_looked_at_until_it_has() {
    let mut scene = Scene::processes();
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    for processes in [&[][..], &[0]] {
        scene.pods.run("cart", processes);
        assert!(scene.failed().await.contains("no running container"));
    }
    // However long it took, it is noticed soon.
    for _ in 0..100 {
        scene.failed().await;
    }
    scene.pods.run("cart", &[0, 9]);
    let started = Instant::now();
    assert_eq!(scene.svid_stream().await.asked.pid, 9);
    // The pause before the next look, the one before the stream is opened, and the part of a millisecond that the clock's
    // wheel makes a whole one of for each.
    let longest =
        Duration::from_secs(START_PAUSE_SECONDS) + Duration::from_millis(OPENING_PAUSE_MILLIS_MAX - 1 + 2);
    assert!(started.elapsed() <= longest, "{:?}", started.elapsed());
}

/// The number was another process's by the time the agent looked at it: what came is not used.
#[tokio::test(start_paused = true)]
async fn a_process_that_changed_under_our_hands_is_asked_for_again() {
    let mut scene = Scene::processes();
    scene.pods.run("cart", &[71]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    scene.pods.run("cart", &[80]);
    stream.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    let again = scene.svid_stream().await;
    assert_eq!(again.asked.pid, 80);
    assert!(scene.events.try_recv().is_err());
    again.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
}

/// Nobody tells that a container was started anew: it is found out, and the certificate stays meanwhile.
#[tokio::test(start_paused = true)]
async fn a_container_that_was_started_anew_is_attested_anew() {
    let mut scene = Scene::processes();
    scene.pods.run("cart", &[71]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    let svid = scene.authority.svid(CART);
    stream.answers.send(Ok(message(vec![svid.clone()]))).unwrap();
    scene.obtained().await;
    // Between two lives of the container there is none: no reason to let go.
    scene.pods.run("cart", &[0]);
    scene.expect_silence(300).await;
    assert!(!stream.answers.is_closed());
    scene.pods.run("cart", &[99]);
    let again = scene.svid_stream().await;
    assert_eq!(again.asked.pid, 99);
    again.answers.send(Ok(message(vec![svid.clone()]))).unwrap();
    // A rotation on the stream of a process that is gone is used at once, and leads to the new process too.
    scene.expect_silence(1).await;
    scene.pods.run("cart", &[120]);
    again.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
    assert_eq!(scene.svid_stream().await.asked.pid, 120);
}

/// What the agent found out about a process is what it goes by: an answer without SVIDs is asked for anew.
#[tokio::test(start_paused = true)]
async fn an_attestation_that_came_to_nothing_is_repeated() {
    let mut scene = Scene::processes();
    scene.pods.run("cart", &[71]);
    scene.want(&[CART]);
    let _roots = scene.rooted_bundle_stream().await;
    let stream = scene.svid_stream().await;
    stream.answers.send(Ok(message(vec![]))).unwrap();
    assert!(scene.failed().await.contains("no registration entry"));
    let again = scene.svid_stream().await;
    again.answers.send(Ok(message(vec![scene.authority.svid(CART)]))).unwrap();
    scene.obtained().await;
}
