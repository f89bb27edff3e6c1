#![allow(clippy::unwrap_used)]

use axum::http::StatusCode;
use prost::Message;
use proto::profile::Profile;
use tokio::sync::Mutex;

use super::*;
use crate::admin::router;
use crate::admin::tests::admin;
use crate::http::Reach;
use crate::http::testing::{ask, send_for_bytes};

/// One test at a time: the process has one profiler.
static ALONE: Mutex<()> = Mutex::const_new(());

fn short() -> Wish {
    Wish { seconds: 1, frequency: 100 }
}

#[tokio::test]
async fn one_profile_is_taken_at_a_time_and_for_no_longer_than_somebody_waits() {
    let _alone = ALONE.lock().await;
    let (admin, _questions) = admin();
    let router = router(admin);
    let (long, second) =
        ("/debug/pprof/profile?seconds=300", "/debug/pprof/profile?seconds=1&frequency=1000");
    let mut first = Box::pin(ask(&router, "GET", long));
    loop {
        tokio::select! {
            (status, text) = &mut first => {
                assert_eq!(status, 409, "the second came before it: {text}");
                first = Box::pin(ask(&router, "GET", long));
            }
            (status, text) = ask(&router, "GET", second) => if status == 409 {
                assert!(text.contains("wait for its end"), "{text}");
                break;
            }
        }
    }
    drop(first);
    let profile = loop {
        let request = format!("GET {second} HTTP/1.0\r\n\r\n");
        let answer = send_for_bytes(&router, Reach::Loopback, request.as_bytes()).await;
        if answer.starts_with(b"HTTP/1.0 200 ") {
            break answer;
        }
    };
    let body = profile.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let profile = Profile::decode(&profile[body..]).unwrap();
    assert_eq!(profile.period, 1_000_000);
    assert!(sampling::files().unwrap().is_empty());
}

#[tokio::test]
async fn what_fails_in_the_making_is_an_error_and_leaves_nothing_behind() {
    let _alone = ALONE.lock().await;
    for failed in [
        profile(short(), |_| panic!("on purpose")).await,
        profile(short(), |_| Err(pprof::Error::CreatingError)).await,
    ] {
        let answer = failed.unwrap_err().into_response();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(sampling::files().unwrap().is_empty());
    }
    // The one after them is none the worse for it.
    let made = profile(short(), encoded).await.unwrap();
    assert!(!made.is_empty() && sampling::files().unwrap().is_empty());
}
