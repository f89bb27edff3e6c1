#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use engine::mesh::Denial;

use super::*;
use crate::stand_in::{completed, connection, service, workload};

const TIME: Duration = Duration::from_millis(1_732_183_257_120);

fn seen(observation: Observation) -> Flow {
    Seen { time: UNIX_EPOCH + TIME, observation }.flow()
}

fn inbound(verdict: Option<Judgement>) -> Connection {
    Connection {
        direction: Direction::Inbound,
        source_workload: Some(Arc::new(workload("client-0", "Kubernetes"))),
        source_identity: Some("spiffe://cluster.local/ns/shop/sa/client".parse().unwrap()),
        hbone_destination: Some("10.0.0.2:8080".parse().unwrap()),
        destination_service: Some(Arc::new(service("echo"))),
        security: Security::MutualTls,
        verdict,
        ..connection(40_312)
    }
}

fn closed(connection: Connection, flag: ResponseFlag, error: Option<&str>) -> Observation {
    let Observation::Closed(mut closed) = completed(1) else { panic!() };
    closed.connection = Arc::new(connection);
    closed.flag = flag;
    closed.error = error.map(str::to_owned);
    closed.duration = Duration::from_millis(1_500);
    Observation::Closed(closed)
}

#[test]
fn golden_lines() {
    let denied = Judgement {
        decision: Decision::Deny(Denial::Denied { policy: "shop/no-client".into() }),
        dry_run: Vec::new(),
    };
    let lines: Vec<String> = [
        Observation::Opened(Arc::new(inbound(None))),
        closed(inbound(Some(denied)), ResponseFlag::Deny, Some("denied by policy")),
        closed(connection(40_313), ResponseFlag::None, None),
    ]
    .into_iter()
    .map(|observation| serde_json::to_string(&seen(observation)).unwrap() + "\n")
    .collect();
    assert_eq!(lines.concat(), include_str!("golden.json"));
}

#[test]
fn a_verdict_names_its_policy_and_its_reason() {
    let allow = |policy: Option<&str>| Decision::Allow { policy: policy.map(Arc::from) };
    let would_deny = || vec![DryRun::WouldDeny { policy: "shop/strict".into() }];
    for (decision, dry_run, verdict, policy, reason) in [
        (allow(None), vec![], Verdict::Allowed, None, None),
        (allow(Some("shop/a")), vec![], Verdict::Allowed, Some("shop/a"), None),
        (
            allow(None),
            would_deny(),
            Verdict::Audited,
            Some("shop/strict"),
            Some("policy shop/strict would deny it"),
        ),
        (allow(None), vec![DryRun::NoneWouldAllow], Verdict::Audited, None, Some("it would be denied")),
        (
            Decision::Deny(Denial::NotAllowed),
            would_deny(),
            Verdict::Denied,
            None,
            Some("none of them allows"),
        ),
        (
            Decision::Deny(Denial::UnknownPolicy { policy: "shop/late".into() }),
            vec![],
            Verdict::Denied,
            Some("shop/late"),
            Some("has not arrived"),
        ),
    ] {
        let judgement = Judgement { decision, dry_run };
        let flow = seen(Observation::Opened(Arc::new(inbound(Some(judgement.clone())))));
        assert_eq!((flow.verdict, flow.policy.as_deref()), (verdict, policy), "{judgement:?}");
        let told = flow.reason.as_deref();
        assert_eq!(told.is_some(), reason.is_some(), "{judgement:?}");
        assert!(told.unwrap_or_default().contains(reason.unwrap_or_default()), "{told:?}");
    }
}

#[test]
fn a_policy_that_changed_makes_an_allowed_connection_a_denied_one() {
    let judgement = Judgement { decision: Decision::Allow { policy: None }, dry_run: Vec::new() };
    let flow = seen(closed(inbound(Some(judgement)), ResponseFlag::Deny, Some("policy change")));
    assert_eq!((flow.verdict, flow.reason.as_deref()), (Verdict::Denied, Some("policy change")));
}

#[tokio::test]
async fn the_last_are_kept_and_a_slow_reader_is_told_what_it_missed() {
    let flows = Flows::new();
    let mut reader = flows.watch();
    let news = FLOWS_BEHIND_MAX + 10;
    for port in 0..news {
        flows.note(&completed(port as u16), UNIX_EPOCH);
    }
    let progress = Observation::Progress {
        connection: Arc::new(connection(1)),
        traffic: engine::observe::Traffic { sent: 1, received: 1 },
    };
    flows.note(&progress, UNIX_EPOCH);
    let last = flows.last();
    assert_eq!(last.len(), FLOWS_KEPT_MAX);
    assert_eq!(last.last().unwrap().flow().connection, format!("0-{}", news - 1));
    assert!(matches!(reader.recv().await, Err(broadcast::error::RecvError::Lagged(10))));
    assert_eq!(reader.recv().await.unwrap().flow().connection, "0-10");
}
