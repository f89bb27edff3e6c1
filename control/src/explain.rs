//! What would become of a connection, and why: the decisions of the data plane, made once more on the snapshot that it
//! has, and put into words.
//!
//! Both ends are looked at as if their pods were here. What the proxy of another node knows may differ for a moment; its
//! certificates cannot be seen from here at all.

mod parties;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use engine::mesh::{
    Action, Authority, Decision, Finding, Found, HboneRoute, Identity, Inbound, Protocol, Refusal, Route,
    Service, Snapshot, Workload, authorise, deliver, examine, route, target_port,
};

use crate::reports::{Explanation, Outcome, Step};
use crate::status::{PodStatus, seconds_left};
use parties::{Destination, Source};

pub(crate) use parties::Unclear;

/// What is known when somebody asks.
pub(crate) struct Replay<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Pods of this node, by uid.
    pub(crate) pods: &'a BTreeMap<Arc<str>, PodStatus>,
    /// What the mesh calls this node, where all of its pods are to be named to this proxy.
    pub(crate) node: Option<&'a str>,
    pub(crate) now: SystemTime,
    /// Picks among equal endpoints of a service.
    pub(crate) entropy: u64,
}

/// Who was meant, by the addresses that connections between the two have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: Vec<IpAddr>,
    pub(crate) destination: Vec<SocketAddr>,
}

/// The steps taken so far.
#[derive(Default)]
struct Story(Vec<Step>);

impl Replay<'_> {
    /// Both are told as `namespace/pod`, a name that only one has, or an IP address; the destination also as a service,
    /// and with a port.
    pub(crate) fn explain(&self, source: &str, destination: &str) -> Result<(Explanation, Ends), Unclear> {
        let source = Source::find(self.snapshot, source)?;
        let destination = Destination::find(self.snapshot, destination, source.namespace())?;
        let mut story = Story::default();
        let outcome = self.replay(&source, &destination, &mut story);
        let ends = Ends {
            source: source.addresses(),
            destination: destination.addresses(self.snapshot, source.namespace()),
        };
        let (source, destination) = (source.to_string(), destination.to_string());
        Ok((Explanation { source, destination, outcome, steps: story.0 }, ends))
    }

    fn replay(&self, source: &Source, destination: &Destination, story: &mut Story) -> Outcome {
        let workload = match source {
            Source::Workload(workload) => workload,
            Source::Outside(ip) => {
                story.tell(
                    "source",
                    format!(
                        "{ip} is no workload of the mesh: its connections are not captured, and prove nothing"
                    ),
                );
                return self.outside(*ip, destination, story);
            }
        };
        if !self.is_served(workload, "source", story) {
            return Outcome::Refused;
        }
        if self.is_unnamed(workload) {
            let what = "nobody named its pod to this proxy: its connections go out as they are, and prove nothing; where \
                        they are redirected all the same, they reach nobody";
            story.tell("pod", what.to_owned());
            return source_ip(workload).map_or(Outcome::Plaintext, |ip| self.outside(ip, destination, story));
        }
        story.tell("destination", destination.finding());
        match route(self.snapshot, workload, destination.address, self.entropy) {
            Route::Refuse(refusal) => refuse(story, "route", &refusal),
            Route::Passthrough { target, workload: None, .. } if target.ip().is_loopback() => {
                let what = format!("{target} is the pod's own loopback: no proxy sees the connection");
                story.tell("route", what);
                Outcome::Plaintext
            }
            Route::Passthrough { target, workload: None, .. } => {
                let what = format!(
                    "{target} is no workload of the mesh: it is passed through as it is, in plaintext"
                );
                story.tell("route", what);
                Outcome::Plaintext
            }
            Route::Passthrough { target, workload: Some(to), .. } => {
                let what = format!("{} is not reached through tunnels: plaintext to {target}", name(&to));
                story.tell("route", what);
                self.plain_to(&to, source_ip(workload), target, story)
            }
            Route::Hbone(found) => self.through_tunnel(workload, &found, story),
        }
    }

    /// A client that no proxy serves: its connection comes in as plain TCP.
    fn outside(&self, ip: IpAddr, destination: &Destination, story: &mut Story) -> Outcome {
        story.tell("destination", destination.finding());
        if let Some(to) = self.snapshot.workload_by_ip(destination.address.ip()) {
            return self.plain_to(to, Some(ip), destination.address, story);
        }
        // The virtual address of a service, as nobody in particular sees it.
        if let Some(service) = self.snapshot.service_by_ip(destination.address.ip(), "") {
            return self.behind(service, ip, destination.address.port(), story);
        }
        story.tell("route", "neither end is a workload of the mesh: the proxy is not involved".to_owned());
        Outcome::Plaintext
    }

    /// One of the pods behind it gets the connection, and nobody here knows which: it is made if one of them takes it.
    fn behind(&self, service: &Service, source: IpAddr, port: u16, story: &mut Story) -> Outcome {
        let what = "the proxy does not see a service's virtual address from outside the mesh: a pod behind it is reached in \
                    plaintext, and its policies judge; ask for the pod behind it";
        story.tell("route", what.to_owned());
        let pods = self.snapshot.endpoints(&service.key).filter_map(|to| {
            let target = SocketAddr::new(source_ip(to)?, target_port(service, to, port)?);
            Some((name(to), self.plain_to(to, Some(source), target, &mut Story::default())))
        });
        let (taken, refused): (Vec<_>, Vec<_>) =
            pods.partition(|(_, outcome)| *outcome == Outcome::Plaintext);
        let denied = refused.iter().any(|(_, outcome)| *outcome == Outcome::Denied);
        let names = parties::listed(refused.into_iter().map(|(name, _)| name).collect(), ", ");
        if names.is_empty() {
            return Outcome::Plaintext;
        }
        if !taken.is_empty() {
            story.tell("authorise", format!("some of the pods behind it refuse it: {names}"));
            return Outcome::Plaintext;
        }
        let what = format!("every pod behind it refuses it: {names}");
        story.stop("authorise", what, "ask for one of them to see why");
        if denied { Outcome::Denied } else { Outcome::Refused }
    }

    fn through_tunnel(&self, from: &Workload, found: &HboneRoute, story: &mut Story) -> Outcome {
        let HboneRoute { workload: to, target, authority, identities, .. } = found;
        let expected = identities.iter().map(Identity::to_string).collect::<Vec<_>>().join(" or ");
        story.tell(
            "route",
            format!("to {} through a tunnel to {target}; its proxy must prove {expected}", name(to)),
        );
        if !self.certificate("source", from, story)
            || self.is_out_of_reach(to, story)
            || !self.certificate("destination", to, story)
        {
            return Outcome::Refused;
        }
        let asked = Authority::Address(*authority);
        let delivery = match deliver(self.snapshot, to, authority.ip(), &asked) {
            Ok(delivery) => delivery,
            Err(refusal) => return refuse(story, "deliver", &refusal),
        };
        story.tell("deliver", format!("{} gets it on port {}", name(to), delivery.target.port()));
        let Some(source) = source_ip(from) else {
            story.tell(
                "authorise",
                "the source has no address of its own, by which policies could know it".to_owned(),
            );
            return Outcome::Encrypted;
        };
        let inbound =
            Inbound { identity: Some(&from.identity), source, destination: delivery.target, workload: to };
        self.judge(&inbound, Outcome::Encrypted, story)
    }

    /// Captured on 15006 if the pod is served, else not seen at all.
    fn plain_to(
        &self,
        to: &Workload,
        source: Option<IpAddr>,
        target: SocketAddr,
        story: &mut Story,
    ) -> Outcome {
        if !self.is_served(to, "destination", story) {
            return Outcome::Refused;
        }
        if self.is_unnamed(to) {
            story.tell("pod", "nobody named its pod to this proxy: no policy is asked".to_owned());
            return Outcome::Plaintext;
        }
        let Some(source) = source else { return Outcome::Plaintext };
        let inbound = Inbound { identity: None, source, destination: target, workload: to };
        self.judge(&inbound, Outcome::Plaintext, story)
    }

    fn judge(&self, inbound: &Inbound<'_>, allowed: Outcome, story: &mut Story) -> Outcome {
        for finding in examine(self.snapshot, inbound) {
            story.tell("policy", heard(&finding));
        }
        let verdict = authorise(self.snapshot, inbound);
        let who =
            inbound.identity.map_or_else(|| "a client without identity".to_owned(), Identity::to_string);
        match verdict.decision {
            Decision::Allow { policy: None } => {
                story.tell("authorise", format!("no policy stands against {who}, and none is needed"));
                allowed
            }
            Decision::Allow { policy: Some(policy) } => {
                story.tell("authorise", format!("policy {policy} allows {who}"));
                allowed
            }
            Decision::Deny(denial) => {
                let cure = "change the policy, or connect from a workload that it allows";
                story.stop("authorise", format!("{who} is denied: {denial}"), cure);
                Outcome::Denied
            }
        }
    }

    /// Whether a pod of this node could prove its identity. That of another node is taken on trust.
    fn certificate(&self, end: &str, workload: &Workload, story: &mut Story) -> bool {
        let mut told = |what: String, cure: Option<&str>| {
            let finding = format!("of the {end}, {}: {what}", name(workload));
            match cure {
                Some(cure) => story.stop("certificate", finding, cure),
                None => story.tell("certificate", finding),
            }
            cure.is_none()
        };
        let Some((uid, _)) = self.pod(workload) else {
            return told("with the proxy of its node".to_owned(), None);
        };
        let identity = &workload.identity;
        let cure = Some("see ringway status for why");
        let Some(credentials) = self.snapshot.credentials(identity, uid) else {
            return told(format!("there is none for {identity}"), cure);
        };
        match seconds_left(credentials.not_after, self.now) {
            left if left <= 0 => told(format!("{identity}, ended {} s ago", -left), cure),
            left => told(format!("{identity}, valid for {left} s"), None),
        }
    }

    /// Tells who the workload is, and whose pod. False if it is one of ours that is not served yet.
    fn is_served(&self, workload: &Workload, step: &'static str, story: &mut Story) -> bool {
        let what = format!("{} is the workload {} ({})", name(workload), workload.uid, workload.identity);
        let place = match (self.pod(workload), &*workload.node) {
            (Some(_), _) => format!("{what}, a pod that is named to this proxy"),
            (None, _) if self.is_unnamed(workload) => format!("{what}, of this node"),
            (None, "") => {
                format!("{what}, not of this node: its own proxy decides, with its own view of the mesh")
            }
            (None, node) => {
                format!("{what} on node {node}: the proxy there decides, with its own view of the mesh")
            }
        };
        story.tell(step, place);
        !self.is_pending(workload, story)
    }

    /// It is to be served here, and this proxy has not heard of its pod.
    fn is_unnamed(&self, workload: &Workload) -> bool {
        let wants = workload.protocol == Protocol::Hbone && !workload.native_tunnel;
        wants && self.node.is_some_and(|node| *node == *workload.node) && self.pod(workload).is_none()
    }

    /// Whether nobody listens for its tunnels, which is then told.
    fn is_out_of_reach(&self, workload: &Workload, story: &mut Story) -> bool {
        if !self.is_unnamed(workload) {
            return self.is_pending(workload, story);
        }
        let what = format!("nobody named {} to this proxy: no tunnel to it is taken", name(workload));
        story.stop("pod", what, "see ringway status for how to have it named");
        true
    }

    /// Whether it is a pod of ours that has no listeners yet, which is then told.
    fn is_pending(&self, workload: &Workload, story: &mut Story) -> bool {
        let Some(cause) = self.pod(workload).and_then(|(_, pod)| pod.pending.as_ref()) else { return false };
        let finding = format!("{} is not served yet ({cause}): connections reach no proxy", name(workload));
        story.stop("pod", finding, "see ringway status; it is tried again every few seconds");
        true
    }

    /// The pod of this node that it is, with its uid.
    fn pod(&self, workload: &Workload) -> Option<(&Arc<str>, &PodStatus)> {
        let is_it = |pod: &PodStatus| {
            pod.name == workload.name
                && pod.namespace == *workload.namespace()
                && pod.service_account == *workload.service_account()
        };
        self.pods.iter().find(|(_, pod)| is_it(pod))
    }
}

/// What one of the policies that have a say said.
fn heard(finding: &Finding) -> String {
    let policy = &finding.policy;
    let Some(Found { action, dry_run, matches }) = finding.known else {
        return format!("{policy}: selects this workload and is not known here, which denies");
    };
    let action = match action {
        Action::Allow => "allows",
        Action::Deny => "denies",
    };
    let mode = if dry_run { ", in dry run" } else { "" };
    let matches = if matches { "describes this connection" } else { "does not describe this connection" };
    format!("{policy} ({action}{mode}): {matches}")
}

fn refuse(story: &mut Story, step: &'static str, refusal: &Refusal) -> Outcome {
    story.stop(step, refusal.to_string(), refusal.cure());
    Outcome::Refused
}

fn name(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace(), workload.name)
}

fn source_ip(workload: &Workload) -> Option<IpAddr> {
    workload.ips.first().copied()
}

// === impl Story ===

impl Story {
    fn tell(&mut self, step: &'static str, finding: String) {
        self.0.push(Step { step: step.to_owned(), finding, cure: None });
    }

    fn stop(&mut self, step: &'static str, finding: String, cure: &str) {
        self.0.push(Step { step: step.to_owned(), finding, cure: Some(cure.to_owned()) });
    }
}

#[cfg(test)]
mod tests;
