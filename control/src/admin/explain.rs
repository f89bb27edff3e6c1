//! `GET /explain?source=..&destination=..`: what would become of a connection.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use crate::explain::Replay;
use crate::reports::{Explanation, FailureReport, Step};

const USAGE: &str = "\
say who connects to whom: /explain?source=shop/cart&destination=shop/bank:80 (each encoded as a URL wants it; \
`ringway explain shop/cart shop/bank:80` does that)
";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    /// Another number may be another endpoint of a service.
    #[serde(default)]
    entropy: u64,
}

pub(super) async fn answer(
    State(admin): State<Admin>,
    question: Result<Query<Question>, QueryRejection>,
) -> Response {
    let asked = |question: &Question| !question.source.is_empty() && !question.destination.is_empty();
    let Some(Query(question)) = question.ok().filter(|Query(question)| asked(question)) else {
        return (StatusCode::BAD_REQUEST, USAGE).into_response();
    };
    let snapshot = admin.known.latest.get();
    let pods = admin.known.status.read(|state| state.pods.clone());
    let replay = Replay {
        snapshot: &snapshot,
        pods: &pods,
        node: admin.whole_node(),
        now: SystemTime::now(),
        entropy: question.entropy,
    };
    match replay.explain(&question.source, &question.destination) {
        Ok(mut explanation) => {
            let failures = admin.failures.report(&snapshot, replay.now);
            explanation.steps.extend(lately(&explanation, &failures));
            Json(explanation).into_response()
        }
        Err(unclear) => (StatusCode::BAD_REQUEST, format!("{unclear}\n")).into_response(),
    }
}

/// What the decisions alone do not show: that it has been tried, and did not work.
fn lately(explanation: &Explanation, failures: &[FailureReport]) -> Option<Step> {
    let pod = |destination: &str| destination.rsplit_once(':').map_or("", |(pod, _)| pod).to_owned();
    let to = (&explanation.destination, pod(&explanation.destination));
    let failed = failures.iter().find(|failed| {
        let same = if failed.of_mesh {
            failed.destination == to.1 || pod(&failed.destination) == to.1
        } else {
            failed.destination == *to.0
        };
        failed.source == explanation.source && same
    })?;
    let FailureReport { count, seconds_ago, error, .. } = failed;
    Some(Step {
        step: "lately".to_owned(),
        finding: format!(
            "it was tried, and failed {count} x, {seconds_ago} s ago for the last time: {error}"
        ),
        cure: Some(
            "that is what happened, whatever should: ringway status says what to do about it".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::{FlowDirection, Outcome};

    #[test]
    fn what_failed_between_the_same_ends_is_told() {
        for (of_mesh, destination, told) in [
            (true, "shop/bank:80", true),
            (true, "shop/bank:81", true),
            (true, "shop/bank", true),
            (true, "shop/banker:80", false),
            (false, "shop/bank:80", true),
            (false, "shop/bank:81", false),
        ] {
            let explanation = Explanation {
                source: "shop/cart".to_owned(),
                destination: "shop/bank:80".to_owned(),
                outcome: Outcome::Encrypted,
                steps: Vec::new(),
            };
            let failure = FailureReport {
                direction: FlowDirection::Outbound,
                source: "shop/cart".to_owned(),
                destination: destination.to_owned(),
                peer_node: None,
                of_mesh,
                flag: "TLS_FAILURE".to_owned(),
                count: 3,
                seconds_ago: 7,
                error: "other root".to_owned(),
            };
            let step = lately(&explanation, &[failure]);
            assert_eq!(step.is_some(), told, "{of_mesh} {destination}");
            assert!(
                step.is_none_or(|step| step.finding.contains("3 x, 7 s ago for the last time: other root"))
            );
        }
    }
}
