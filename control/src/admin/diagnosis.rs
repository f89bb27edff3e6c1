//! What is wrong with a proxy, judged by its own report, and what to do about it.

use crate::environment::{CertificateSettings, Environment, MeshSource, Mode, PodSource};
use crate::reports::{CertificateReport, FailureReport, PlaneReport, PodReport, Problem, StatusReport};

/// A certificate that ends so soon should have been renewed long ago: the embedded CA's shortest lives ten seconds, all
/// others are renewed at half their life.
const CERTIFICATE_SECONDS_LOW: i64 = 60;

/// What is written down on this node and not told by a control plane: what to do about it is another thing then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origins {
    /// All pods of the node are to be named to this proxy.
    pub(super) whole_node: bool,
    /// The mesh is a file or a variable.
    local_mesh: bool,
    /// The pods are those of a file.
    local_pods: bool,
    /// Certificates are of the embedded authority.
    local_authority: bool,
}

pub(super) fn diagnose(report: &StatusReport, origins: Origins) -> Vec<Problem> {
    let planes = report.control_connections.iter().filter_map(plane);
    let pods = report.pods.iter().filter_map(|pod| self::pod(pod, origins));
    let certificates = report.certificates.iter().filter_map(|held| certificate(held, origins));
    let mut problems: Vec<Problem> = planes.chain(pods).chain(certificates).collect();
    problems.extend(report.failures.iter().filter_map(failure));
    problems.extend(unserved(report, origins));
    problems.extend(waiting(report, origins, problems.is_empty()));
    problems
}

fn unserved(report: &StatusReport, origins: Origins) -> Option<Problem> {
    let first = report.unserved.first()?;
    let what = format!(
        "the mesh has pods of this node that nobody named to this proxy, such as {first}: nobody encrypts for them"
    );
    let cure = match origins.local_pods {
        true => {
            "add them to the pods file; if they are not of this node, correct `node` of their workloads, or NODE_NAME"
        }
        false => {
            "see that the node agent enrols them, and that NODE_NAME is what `node` of their workloads says"
        }
    };
    Some(problem(what, cure))
}

/// What keeps it from being ready, where that has not been said; `well`: nothing else is wrong.
fn waiting(report: &StatusReport, origins: Origins, well: bool) -> Vec<Problem> {
    let waits = |name: &str| report.waiting_for.iter().any(|task| task == name);
    let mut problems = Vec::new();
    if waits("drain") {
        problems.push(problem("the proxy is ending: it takes no new connections", "wait for its successor"));
    }
    let unmet = |plane: &PlaneReport| plane.name == "xds" && !plane.connected && plane.connections == 0;
    if waits("state manager") && !report.control_connections.iter().any(unmet) {
        let cure = match origins.local_mesh {
            true => "wait: the mesh file is being read",
            false => "see whether the xDS server answers, and whether it sends this node its workloads",
        };
        problems.push(problem(
            "the mesh is not known yet: no pod is served, and connections of redirected pods are refused",
            cure,
        ));
    } else if waits("workload proxy manager") && well && !origins.local_pods {
        problems.push(problem(
            "the node agent has not named all pods of this node yet",
            "wait a moment; if it stays so, the log of the node agent says at which pod it stands",
        ));
    }
    problems
}

fn plane(plane: &PlaneReport) -> Option<Problem> {
    if plane.connected && plane.error.is_none() {
        return None;
    }
    let PlaneReport { name, address, seconds, error, .. } = plane;
    let role = plane.role();
    let cause = error.as_deref().unwrap_or("it has not answered yet");
    if plane.file {
        let what = format!(
            "the {name} has been wrong for {seconds} s, and what it said before is in force: {cause}"
        );
        return Some(problem(what, "correct it: it is read again within a second, without a restart"));
    }
    if plane.connected && name == "certificates" {
        let what = format!("the {role} at {address} does not give what it is asked for: {cause}");
        return Some(problem(what, "see its log, and that it knows the identities of this node's pods"));
    }
    if plane.connected {
        let what = format!("the {role} at {address} sent something that was not taken: {cause}");
        return Some(problem(what, "correct it where it comes from; what was known before stays in force"));
    }
    let what = format!("no connection to the {role} at {address} for {seconds} s: {cause}");
    Some(problem(what, without(name, plane.connections > 0)))
}

/// What to do while a control plane is away, and what that means until then. It is called again by itself.
fn without(plane: &str, was_there: bool) -> &'static str {
    match (plane, was_there) {
        ("zds", true) => {
            "look at the node agent of this node; pods go on as they are, and none comes or goes until it is back"
        }
        ("zds", false) => "look at the node agent of this node; until it answers no pod is served",
        ("xds", true) => "look at the server, and the way to it; until it is back the mesh stays what it was",
        ("xds", false) => "look at the server, and the way to it; until it answers no pod is served",
        ("certificates", _) => {
            "look at it, and the way to it; certificates in use last until they end, and pods without one get no connections"
        }
        ("container runtime", _) => {
            "see that CONTAINER_RUNTIME_SOCK_PATH is its socket, and mounted here; pods that have a certificate keep it"
        }
        _ => "see that it runs and listens there; what was known before stays in force",
    }
}

/// What two proxies could not agree on. What befell an application alone is listed, and no problem of ours.
fn failure(failure: &FailureReport) -> Option<Problem> {
    if !failure.of_mesh {
        return None;
    }
    let FailureReport { source, destination, count, seconds_ago, error, flag, .. } = failure;
    let times = if *count == 1 { "failed once" } else { &format!("failed {count} times") };
    let what = format!("{source} -> {destination} {times}, {seconds_ago} s ago for the last time: {error}");
    let peer = failure
        .peer_node
        .as_deref()
        .map_or_else(|| "the other node".to_owned(), |node| format!("node {node}"));
    let cure = match flag.as_str() {
        "NETWORK_POLICY" => {
            format!("let TCP 15008 through from pod to pod (network policy, firewall), to and from {peer}")
        }
        "IDENTITY_ERROR" => "see the certificates, and who signs them".to_owned(),
        "CERT_REVOKED" => "have the certificate issued anew, or correct the list (CRL_PATH)".to_owned(),
        _ => format!(
            "compare with what `ringway status` says on {peer}: trust domain, roots, certificates, clock"
        ),
    };
    Some(problem(what, &cure))
}

fn pod(pod: &PodReport, origins: Origins) -> Option<Problem> {
    let PodReport { namespace, name, service_account, .. } = pod;
    if let Some(cause) = &pod.pending {
        let what = format!("pod {namespace}/{name} is not served: {cause}");
        let cure = match origins.local_pods {
            true => {
                "it is tried again every few seconds; see that its network namespace exists, or correct `netns` in the \
                 pods file"
            }
            false => "it is tried again every few seconds; see that its network namespace exists",
        };
        return Some(problem(what, cure));
    }
    if pod.shared {
        let what = format!(
            "pod {namespace}/{name} is served by another proxy as well: each takes some of its connections, with its own \
             mesh and certificates"
        );
        let cure = "end one of the two, or let only one have the pod in its pods file";
        return Some(problem(what, cure));
    }
    if pod.in_mesh {
        return None;
    }
    let what = format!(
        "pod {namespace}/{name} (service account {service_account}) is served, but the mesh has no such workload: its \
         connections fail"
    );
    let cure = match origins.local_mesh {
        true => {
            "add it to the mesh file with the same name, namespace and service account, or correct those of the pod"
        }
        false => "see that the control plane announces it with the same name, namespace and service account",
    };
    Some(problem(what, cure))
}

fn certificate(certificate: &CertificateReport, origins: Origins) -> Option<Problem> {
    let CertificateReport { identity, error, failures, .. } = certificate;
    let cause = |otherwise| error.as_deref().unwrap_or(otherwise);
    let cure = match origins.local_authority {
        true => "put the CA directory (RINGWAY_CA_DIR) right, and restart: it is read at start only",
        false => "see the log of who signs certificates, and that it knows this identity",
    };
    let what = match certificate.seconds_left {
        None => {
            let cause = cause("none has come yet");
            format!("{identity} has no certificate, so its connections fail: {cause}")
        }
        Some(left) if left <= 0 => {
            let cause = cause("no newer one has come");
            format!("the certificate of {identity} ended {} s ago, so its connections fail: {cause}", -left)
        }
        Some(left) if *failures > 0 => {
            let cause = cause("no cause was given");
            format!(
                "{identity} gets no new certificate ({failures} tries); the old one ends in {left} s: {cause}"
            )
        }
        Some(left) if left < CERTIFICATE_SECONDS_LOW && error.is_some() => {
            format!("the certificate of {identity} ends in {left} s: {}", cause(""))
        }
        Some(_) => return None,
    };
    Some(problem(what, cure))
}

fn problem(what: impl Into<String>, cure: &str) -> Problem {
    Problem { what: what.into(), cure: cure.to_owned() }
}

// === impl Origins ===

impl Origins {
    pub(crate) fn of(environment: &Environment) -> Self {
        Self {
            whole_node: matches!(environment.mode, Mode::Shared { .. }),
            local_mesh: !matches!(environment.mesh_source, MeshSource::Xds(_)),
            local_pods: matches!(environment.mode, Mode::Shared { pods: PodSource::File(_) }),
            local_authority: matches!(environment.certificates, CertificateSettings::Embedded(_)),
        }
    }
}

#[cfg(test)]
mod tests;
