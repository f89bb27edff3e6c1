#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::*;
use crate::stand_in::StandIn;

/// What it gives at once, if it does.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Those of a run of the control thread, which wants the pod of dedicated mode or none.
fn pods(running: &Running, wanted: bool) -> Pods {
    let mut pods = Pods::new(running.clone(), Status::default(), Succession::default());
    if wanted {
        let workload = WorkloadName {
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
            service_account: "cart".to_owned(),
        };
        pods.want_own(workload);
    }
    pods
}

/// A panic drops the run in the middle of it.
#[tokio::test]
async fn a_pod_that_was_being_added_in_a_panic_is_removed() {
    for wanted_again in [false, true] {
        let (plane, running) = (StandIn::default(), Running::default());
        plane.slow.set(true);
        let mut cut_short = pods(&running, true);
        assert!(poll_once(pin!(cut_short.add_missing(&plane))).await.is_none());
        drop(cut_short);
        assert_eq!(plane.take(), ["add shop/cart"]);

        let mut next = pods(&running, wanted_again);
        for expected in [&["remove shop/cart", "add shop/cart"][..usize::from(wanted_again) + 1], &[]] {
            next.remove_gone(&plane).await;
            next.add_missing(&plane).await;
            assert_eq!(plane.take(), expected, "{wanted_again}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_was_being_removed_in_a_panic_is_not_taken_for_one_that_runs() {
    let (plane, running) = (StandIn::default(), Running::default());
    pods(&running, true).add_missing(&plane).await;
    plane.slow.set(true);
    let mut cut_short = pods(&running, false);
    assert!(poll_once(pin!(cut_short.remove_gone(&plane))).await.is_none());
    drop(cut_short);
    assert_eq!(plane.take(), ["add shop/cart", "remove shop/cart"]);

    let mut next = pods(&running, true);
    next.remove_gone(&plane).await;
    assert!(!next.all_carried());
    next.add_missing(&plane).await;
    assert!(next.all_carried());
    assert_eq!(plane.take(), ["remove shop/cart", "add shop/cart"]);
}

/// A look that fails says nothing: neither that another proxy is there nor that it has gone.
#[tokio::test]
async fn a_pod_stays_shared_until_it_is_seen_not_to_be() {
    let (plane, running) = (StandIn::default(), Running::default());
    let mut pods = pods(&running, true);
    pods.add_missing(&plane).await;
    let uid = Arc::from("shop/cart");
    let unknown = || Err(io::Error::other("no thread"));
    for (seen, shared, again) in
        [(unknown(), false, true), (Ok(true), true, true), (unknown(), true, true), (Ok(false), false, false)]
    {
        let what = format!("{seen:?}");
        pods.conclude(&uid, seen);
        assert_eq!(pods.status.read(|state| state.pods[&uid].shared), shared, "{what}");
        assert_eq!(pods.next_try().is_some(), again, "{what}");
    }
}
