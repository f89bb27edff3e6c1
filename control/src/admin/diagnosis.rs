//! What is wrong with a proxy, judged by its own report, and what to do about it.

use crate::environment::{CertificateSettings, Environment, MeshSource, Mode, PodSource};
use crate::reports::{CertificateReport, PlaneReport, PodReport, Problem, StatusReport};

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
    if let Some(first) = report.unserved.first() {
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
        problems.push(problem(what, cure));
    }
    if report.waiting_for.iter().any(|task| task == "drain") {
        problems.push(problem("the proxy is ending: it takes no new connections", "wait for its successor"));
    }
    if report.waiting_for.iter().any(|task| task == "state manager") {
        let cure = match origins.local_mesh {
            true => "wait: the mesh file is being read",
            false => {
                "see the control connections above, and whether the control plane sends this node its workloads"
            }
        };
        problems.push(problem("the mesh is not known yet: connections wait for it, and then fail", cure));
    }
    problems
}

fn plane(plane: &PlaneReport) -> Option<Problem> {
    if plane.connected && plane.error.is_none() {
        return None;
    }
    let PlaneReport { name, address, seconds, error, .. } = plane;
    let cause = error.as_deref().unwrap_or("it has not answered yet");
    if plane.file {
        let what = format!(
            "the {name} has been wrong for {seconds} s, and what it said before is in force: {cause}"
        );
        return Some(problem(what, "correct it: it is read again within a second, without a restart"));
    }
    if plane.connected {
        let what = format!("{name} at {address} sent something that was not taken: {cause}");
        return Some(problem(what, "see who sends it; what was known before stays in force"));
    }
    let what = format!("no connection to {name} at {address} for {seconds} s: {cause}");
    Some(problem(what, "see that it runs and listens there; what was known before stays in force"))
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
    let cause = error.as_deref().unwrap_or("none has come yet");
    let cure = match origins.local_authority {
        true => "see the CA directory (RINGWAY_CA_DIR); it is read at start only",
        false => "see the log of who signs certificates, and that it knows this identity",
    };
    let what = match certificate.seconds_left {
        None => format!("{identity} has no certificate, so its connections fail: {cause}"),
        Some(left) if left <= 0 => format!("the certificate of {identity} ended {} s ago: {cause}", -left),
        Some(left) if *failures > 0 => format!(
            "{identity} gets no new certificate ({failures} tries); the old one ends in {left} s: {cause}"
        ),
        Some(left) if left < CERTIFICATE_SECONDS_LOW && error.is_some() => {
            format!("the certificate of {identity} ends in {left} s: {cause}")
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
mod tests {
    use super::*;
    use crate::reports::OpenConnections;

    fn of_plane(connected: bool, error: Option<&str>) -> StatusReport {
        let plane = PlaneReport {
            name: "xds".to_owned(),
            address: "https://istiod:15012".to_owned(),
            file: false,
            connected,
            seconds: 42,
            connections: 1,
            error: error.map(str::to_owned),
        };
        StatusReport { control_connections: vec![plane], ..StatusReport::default() }
    }

    fn of_pod(pending: Option<&str>, in_mesh: bool) -> StatusReport {
        let pod = PodReport {
            uid: "uid-1".to_owned(),
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
            service_account: "cart".to_owned(),
            pending: pending.map(str::to_owned),
            in_mesh,
            open: OpenConnections::default(),
        };
        StatusReport { pods: vec![pod], ..StatusReport::default() }
    }

    fn of_certificate(seconds_left: Option<i64>, failures: u64, error: Option<&str>) -> StatusReport {
        let certificate = CertificateReport {
            identity: "spiffe://td/ns/shop/sa/cart".to_owned(),
            pod: None,
            seconds_left,
            failures,
            error: error.map(str::to_owned),
        };
        StatusReport { certificates: vec![certificate], ..StatusReport::default() }
    }

    fn waiting(task: &str) -> StatusReport {
        StatusReport { waiting_for: vec![task.to_owned()], ..StatusReport::default() }
    }

    #[test]
    fn each_state_has_its_problem_or_none() {
        for (report, expected) in [
            (StatusReport::default(), None),
            (of_plane(true, None), None),
            (of_plane(true, Some("bad policy")), Some("sent something that was not taken: bad policy")),
            (
                of_plane(false, Some("refused")),
                Some("no connection to xds at https://istiod:15012 for 42 s: refused"),
            ),
            (of_plane(false, None), Some("it has not answered yet")),
            (of_pod(None, true), None),
            (of_pod(Some("no such file"), true), Some("pod shop/cart is not served: no such file")),
            (of_pod(None, false), Some("the mesh has no such workload")),
            (of_certificate(Some(3_600), 0, None), None),
            (of_certificate(Some(9), 0, None), None),
            (
                of_certificate(Some(3_600), 2, Some("denied")),
                Some("(2 tries); the old one ends in 3600 s: denied"),
            ),
            (of_certificate(Some(9), 0, Some("denied")), Some("ends in 9 s: denied")),
            (of_certificate(Some(-5), 1, Some("denied")), Some("ended 5 s ago: denied")),
            (
                of_certificate(None, 1, Some("denied")),
                Some("has no certificate, so its connections fail: denied"),
            ),
            (of_certificate(None, 0, None), Some("none has come yet")),
            (
                StatusReport { unserved: vec!["shop/lost".to_owned()], ..StatusReport::default() },
                Some("such as shop/lost"),
            ),
            (waiting("drain"), Some("the proxy is ending")),
            (waiting("state manager"), Some("the mesh is not known yet")),
        ] {
            let problems = diagnose(&report, Origins::default());
            assert_eq!(problems.len(), usize::from(expected.is_some()), "{problems:?}");
            if let (Some(problem), Some(expected)) = (problems.first(), expected) {
                assert!(problem.what.contains(expected), "{} should say {expected}", problem.what);
                assert!(!problem.cure.is_empty());
            }
        }
    }

    /// Where there is no control plane, nobody is sent to look after one.
    #[test]
    fn what_is_written_down_here_is_cured_here() {
        let local = Origins { whole_node: true, local_mesh: true, local_pods: true, local_authority: true };
        let mut file = of_plane(false, Some("/mesh.yaml:3:5: unknown field `nmae`"));
        file.control_connections[0].file = true;
        file.control_connections[0].name = "mesh file".to_owned();
        for (report, what, cure) in [
            (
                file,
                "the mesh file has been wrong for 42 s, and what it said before is in force: /mesh",
                "correct it",
            ),
            (of_pod(Some("no such file"), true), "is not served", "`netns` in the pods file"),
            (of_pod(None, false), "no such workload", "add it to the mesh file"),
            (of_certificate(None, 1, Some("expired")), "no certificate", "CA directory"),
            (
                StatusReport { unserved: vec!["shop/lost".to_owned()], ..StatusReport::default() },
                "such as shop/lost",
                "add them to the pods file",
            ),
            (waiting("state manager"), "not known yet", "wait"),
        ] {
            let problems = diagnose(&report, local);
            let [problem] = problems.as_slice() else { unreachable!("{problems:?}") };
            assert!(problem.what.contains(what), "{problem:?} should say {what}");
            assert!(problem.cure.contains(cure), "{problem:?} should say {cure}");
            assert!(!problem.cure.contains("control plane"), "{problem:?}");
        }
    }
}
