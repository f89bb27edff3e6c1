#![allow(clippy::unwrap_used)]

use std::fs::File;

use proto::zds::{DelWorkload, KeepWorkload, SnapshotSent, WorkloadInfo};

use super::*;

/// A namespace that every machine has: nothing enters it here.
const NETNS: &str = "/proc/self/ns/net";

fn add(uid: &str) -> Payload {
    let info =
        WorkloadInfo { name: "cart-0".into(), namespace: "shop".into(), service_account: "cart".into() };
    Payload::Add(AddWorkload { uid: uid.into(), workload_info: Some(info) })
}

fn keep(uid: &str) -> Payload {
    Payload::Keep(KeepWorkload { uid: uid.into() })
}

fn del(uid: &str) -> Payload {
    Payload::Del(DelWorkload { uid: uid.into() })
}

fn sent() -> Payload {
    Payload::SnapshotSent(SnapshotSent {})
}

fn packet(payload: Payload, paths: &[&str]) -> Packet {
    let message = WorkloadRequest { payload: Some(payload) }.encode_to_vec();
    let descriptors = paths.iter().map(|path| File::open(path).unwrap().into()).collect();
    Packet { message, descriptors }
}

/// What a request with the descriptors it should have comes to, in short.
fn take(session: &mut Session, payload: Payload) -> String {
    let paths: &[&str] = if matches!(payload, Payload::Add(_)) { &[NETNS] } else { &[] };
    match session.take(packet(payload, paths)) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(PodChange::Come(pod))) => format!("come {}", pod.uid),
        Ok(Some(PodChange::Gone(uid))) => format!("gone {uid}"),
        Ok(Some(PodChange::All(uids))) => format!("all {}", uids.into_iter().collect::<Vec<_>>().join(" ")),
        Ok(Some(PodChange::Lost)) => "lost".to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

#[test]
fn requests_mean_what_the_table_says() {
    let sessions: [&[(Payload, &str)]; 6] = [
        &[(sent(), "all ")],
        &[(add("1"), "come 1"), (add("2"), "come 2"), (sent(), "all 1 2")],
        // What is announced twice, kept or taken back before the end of the snapshot.
        &[(add("1"), "come 1"), (add("1"), "come 1"), (sent(), "all 1")],
        &[(keep("1"), "nothing"), (add("2"), "come 2"), (keep("2"), "nothing"), (sent(), "all 1 2")],
        &[(add("1"), "come 1"), (del("1"), "gone 1"), (sent(), "all ")],
        // After it there are only changes.
        &[
            (sent(), "all "),
            (add("1"), "come 1"),
            (del("unknown"), "gone unknown"),
            (keep("1"), "refused: keep came after the snapshot had been sent"),
            (sent(), "refused: snapshot_sent came after the snapshot had been sent"),
        ],
    ];
    for requests in sessions {
        let mut session = Session::default();
        for (payload, expected) in requests {
            assert_eq!(take(&mut session, payload.clone()), *expected, "{payload:?} of {requests:?}");
        }
    }
}

#[test]
fn what_can_never_work_is_refused() {
    let (longest, too_long) = ("x".repeat(POD_UID_BYTES_MAX), "x".repeat(POD_UID_BYTES_MAX + 1));
    assert_eq!(take(&mut Session::default(), keep(&longest)), "nothing");
    let no_info = Payload::Add(AddWorkload { uid: "1".into(), workload_info: None });
    for (payload, paths, expected) in [
        (add("1"), &[][..], "add came with 0 descriptors instead of 1"),
        (add("1"), &[NETNS, NETNS], "add came with 2 descriptors instead of 1"),
        (del("1"), &[NETNS], "del came with 1 descriptors instead of 0"),
        (keep("1"), &[NETNS], "keep came with 1 descriptors instead of 0"),
        (sent(), &[NETNS], "snapshot_sent came with 1 descriptors instead of 0"),
        (no_info, &[NETNS], "pod 1 came without workload_info"),
        (add("1"), &["/proc/self/status"], "the descriptor of pod 1 is not of a network namespace"),
        (add(""), &[NETNS], "add without a uid"),
        (keep(""), &[], "keep without a uid"),
        (del(""), &[], "del without a uid"),
        (add(&too_long), &[NETNS], "add with a uid of 257 bytes, of which 256 would be allowed"),
        (keep(&too_long), &[], "keep with a uid of 257 bytes"),
        (del(&too_long), &[], "del with a uid of 257 bytes"),
    ] {
        let error = Session::default().take(packet(payload, paths)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    for (message, expected) in [
        (&b"\xff\xff"[..], "not a workload request"),
        // A field that nobody knows, and an empty request in a non-empty packet.
        (b"\x7a\x00", "a workload request without a payload"),
    ] {
        let packet = Packet { message: message.to_vec(), descriptors: Vec::new() };
        let error = Session::default().take(packet).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_snapshot_has_an_end() {
    let mut session = Session::default();
    for uid in 0..PODS_NAMED_MAX {
        assert_eq!(take(&mut session, keep(&uid.to_string())), "nothing");
    }
    assert!(take(&mut session, keep("one more")).contains("more than 16384 pods"));
}

#[test]
fn an_agent_names_no_more_pods_after_a_snapshot_than_in_it() {
    let mut session = Session::default();
    assert_eq!(take(&mut session, sent()), "all ");
    for uid in 0..PODS_NAMED_MAX {
        assert_eq!(take(&mut session, add(&uid.to_string())), format!("come {uid}"));
    }
    // Who is named again is no new one, and who is taken back makes room.
    assert_eq!(take(&mut session, add("0")), "come 0");
    assert_eq!(take(&mut session, del("0")), "gone 0");
    assert_eq!(take(&mut session, add("in its place")), "come in its place");
    assert!(take(&mut session, add("one more")).contains("more than 16384 pods"));
}

#[test]
fn a_second_announcement_of_the_same_is_equal_and_of_another_namespace_is_not() {
    let announced = |path: &str| match Session::default().take(packet(add("1"), &[path])).unwrap() {
        Some(PodChange::Come(pod)) => pod,
        other => panic!("{other:?}"),
    };
    assert_eq!(announced(NETNS), announced(NETNS));
    // Any other kind stands for another network here: nothing enters it.
    assert_ne!(announced(NETNS), announced("/proc/self/ns/uts"));
}

#[test]
fn the_hello_and_the_answers_are_as_agents_read_them() {
    assert_eq!(hello(), [0x08, 0x01]);
    assert_eq!(answer(""), [0x0a, 0x00]);
    assert_eq!(answer("no"), b"\x0a\x04\x0a\x02no");
    for letter in ["x", "é", "語", "🦀"] {
        for length in [1_000, 1_017, 1_018, 1_019, 1_024, 5_000] {
            let error = letter.repeat(length / letter.len() + 1);
            let packet = answer(&error);
            assert!(packet.len() <= PACKET_BYTES_MAX, "{letter}: {}", packet.len());
            let Some(workload_response::Payload::Ack(ack)) =
                WorkloadResponse::decode(&*packet).unwrap().payload
            else {
                panic!("no ack");
            };
            assert!(error.starts_with(&ack.error), "{letter}");
            assert!(ack.error == error || packet.len() > PACKET_BYTES_MAX - 4, "{letter}: cut too early");
        }
    }
}
