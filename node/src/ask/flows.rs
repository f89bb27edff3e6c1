//! A flow for people: one line.

use control::reports::{AuthType, End, Event, Flow, FlowDirection, FlowLine, Verdict};

pub(super) fn text(line: &FlowLine) -> String {
    match line {
        FlowLine::Flow(flow) => of_flow(flow),
        FlowLine::Lost(lost) => {
            format!("... {} flows are missing here: they came faster than they were read", lost.lost)
        }
    }
}

fn of_flow(flow: &Flow) -> String {
    let event = match flow.event {
        Event::Opened => "opened",
        Event::Closed => "closed",
    };
    let direction = match flow.direction {
        FlowDirection::Outbound => "outbound",
        FlowDirection::Inbound => "inbound ",
    };
    let auth = match flow.auth_type {
        AuthType::Spiffe => "SPIFFE",
        AuthType::None => "none  ",
    };
    let verdict = match flow.verdict {
        _ if flow.failed => "FAILED",
        Verdict::Allowed => "allowed",
        Verdict::Denied => "DENIED",
        Verdict::Audited => "audited",
    };
    let mut text = format!(
        "{} {event} {direction} {auth} {verdict:<7} #{} {} -> {}",
        flow.time,
        flow.connection,
        end(&flow.source),
        end(&flow.destination)
    );
    if let Some(service) = &flow.service {
        text += &format!(" ({service})");
    }
    if let Some(milliseconds) = flow.duration_ms {
        text +=
            &format!(" {} B sent, {} B received, {milliseconds} ms", flow.bytes_sent, flow.bytes_received);
    }
    // The error of a connection that was denied is the reason, or says it in its own words.
    let reason = match &flow.error {
        Some(error) => flow.reason.as_ref().filter(|reason| !error.contains(*reason)),
        None => flow.reason.as_ref(),
    };
    for (name, value) in
        [("policy", flow.policy.as_ref()), ("reason", reason), ("error", flow.error.as_ref())]
    {
        if let Some(value) = value {
            text += &format!(" {name}={value:?}");
        }
    }
    text
}

/// The pod with its address, or the address alone.
fn end(end: &End) -> String {
    match (&end.namespace, &end.workload) {
        (Some(namespace), Some(workload)) => format!("{namespace}/{workload} [{}]", end.address),
        _ => end.address.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use control::reports::Lost;

    use super::*;

    #[test]
    fn each_flow_has_a_line() {
        let far = End { address: "10.0.0.2:80".to_owned(), workload: None, namespace: None, identity: None };
        let pod = End {
            address: "10.0.0.1:40000".to_owned(),
            workload: Some("cart".to_owned()),
            namespace: Some("shop".to_owned()),
            identity: None,
        };
        let mut flow = Flow {
            event: Event::Closed,
            time: "2024-11-21T10:00:57Z".to_owned(),
            connection: "0-1".to_owned(),
            direction: FlowDirection::Inbound,
            source: pod,
            destination: far,
            service: None,
            auth_type: AuthType::Spiffe,
            verdict: Verdict::Denied,
            policy: Some("shop/no".to_owned()),
            reason: Some("policy shop/no denies it".to_owned()),
            bytes_sent: 3,
            bytes_received: 4,
            duration_ms: Some(12),
            failed: false,
            error: None,
        };
        let expected = "2024-11-21T10:00:57Z closed inbound  SPIFFE DENIED  #0-1 shop/cart [10.0.0.1:40000] -> 10.0.0.2:80 \
                        3 B sent, 4 B received, 12 ms policy=\"shop/no\" reason=\"policy shop/no denies it\"";
        assert_eq!(text(&FlowLine::Flow(Box::new(flow.clone()))), expected);
        flow.error = Some("denied by policy: policy shop/no denies it".to_owned());
        let json = serde_json::to_string(&flow).unwrap();
        assert!(!json.contains("failed"), "{json}");
        let line = text(&FlowLine::Flow(Box::new(flow)));
        assert!(line.ends_with(" error=\"denied by policy: policy shop/no denies it\""), "{line}");
        assert_eq!(line.matches("policy shop/no denies it").count(), 1, "it is said once: {line}");
        let FlowLine::Flow(mut flow) = serde_json::from_str(&json).unwrap() else { panic!("{json}") };
        flow.failed = true;
        let line = text(&FlowLine::Flow(flow));
        assert!(
            line.contains(" inbound  SPIFFE FAILED  #0-1 "),
            "allowed it may be, but it is not there: {line}"
        );
        assert!(text(&FlowLine::Lost(Lost { lost: 7 })).starts_with("... 7 flows are missing"));
    }
}
