//! What a refusal means and what to do about it. SPIRE's own texts name the symptom, and neither the cause nor the cure.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::{Code, Status};

/// The agent answered, or could not be reached.
pub(super) fn of_agent(status: &Status, socket: &str) -> String {
    let said = status.message();
    match status.code() {
        Code::PermissionDenied if said.contains("authorized delegate") => format!(
            "SPIRE's agent does not let us act for pods ({said}): add the SPIFFE ID of this proxy's own entry to \
             authorized_delegates in the agent's configuration and restart the agent"
        ),
        Code::PermissionDenied => format!(
            "SPIRE's agent does not know who we are ({said}): create a registration entry for this proxy, with selectors \
             that match its own namespace and service account; right after a restart of the agent this passes by itself"
        ),
        Code::Unimplemented => format!(
            "{socket} is not the admin socket of SPIRE's agent: set admin_socket_path in the agent's configuration, mount \
             that socket, and name it in SPIRE_ADMIN_ENDPOINT_SOCKET"
        ),
        Code::Unavailable if said.contains("attestation failed") => format!(
            "SPIRE's agent could not attest the pod's process ({said}): it has ended, or the agent runs without hostPID \
             or without its k8s workload attestor"
        ),
        Code::Unavailable | Code::Unknown | Code::Cancelled => {
            of_connection(status, "SPIRE's agent", socket, "SPIRE_ADMIN_ENDPOINT_SOCKET")
        }
        code => format!("SPIRE's agent at {socket} refuses: {code:?}: {said}"),
    }
}

/// The agent took the connection, and then nothing came.
pub(super) fn silent_agent(socket: &str, waited: Duration) -> String {
    format!(
        "SPIRE's agent at {socket} did not answer within {} s (SPIRE_TIMEOUT): it is stopped or hangs; restart it",
        waited.as_secs_f32()
    )
}

/// The container runtime answered, or could not be reached.
pub(super) fn of_runtime(status: &Status, socket: &str) -> String {
    match status.code() {
        Code::Unimplemented => format!(
            "{socket} does not speak version v1 of the container runtime interface: name the runtime's socket in \
             CONTAINER_RUNTIME_SOCK_PATH"
        ),
        Code::Unavailable | Code::Unknown | Code::Cancelled => {
            of_connection(status, "the container runtime", socket, "CONTAINER_RUNTIME_SOCK_PATH")
        }
        code => format!("the container runtime at {socket} refuses: {code:?}: {}", status.message()),
    }
}

/// The container runtime took the question, and no answer came.
pub(super) fn silent_runtime(socket: &str, waited: Duration) -> String {
    format!(
        "the container runtime at {socket} did not answer within {} s (SPIRE_TIMEOUT): see its own log",
        waited.as_secs_f32()
    )
}

/// There is no connection, or it broke.
fn of_connection(status: &Status, who: &str, socket: &str, variable: &str) -> String {
    match io_kind(status) {
        Some(io::ErrorKind::NotFound) => format!(
            "no socket at {socket}: {who} is not running, or its directory is not mounted into this container; {variable} \
             names the socket"
        ),
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("nobody listens at {socket}: {who} is not running")
        }
        Some(io::ErrorKind::PermissionDenied) => {
            format!("no permission to use {socket}: it is for root and the group of {who}")
        }
        _ => format!("the connection to {who} at {socket} broke: {}", whole(status)),
    }
}

/// The error of the system at the bottom of it.
fn io_kind(status: &Status) -> Option<io::ErrorKind> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// What was said with what is behind it: the transport's own text is a mere `transport error`.
fn whole(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        let broken = |kind: io::ErrorKind| {
            let mut status = Status::unavailable("transport error");
            status.set_source(std::sync::Arc::new(io::Error::from(kind)));
            status
        };
        for (status, advice) in [
            (
                Status::permission_denied("caller not configured as an authorized delegate"),
                "authorized_delegates",
            ),
            (Status::permission_denied("no identity issued"), "create a registration entry"),
            (Status::unimplemented("unknown service"), "SPIRE_ADMIN_ENDPOINT_SOCKET"),
            (Status::unavailable("workload attestation failed"), "hostPID"),
            (broken(io::ErrorKind::NotFound), "not mounted"),
            (broken(io::ErrorKind::ConnectionRefused), "is not running"),
            (broken(io::ErrorKind::PermissionDenied), "no permission"),
            (broken(io::ErrorKind::ConnectionReset), "broke"),
            (Status::invalid_argument("could not parse"), "InvalidArgument: could not parse"),
        ] {
            let text = of_agent(&status, "/run/admin.sock");
            assert!(text.contains(advice), "{text}");
        }
        let text = of_runtime(&broken(io::ErrorKind::NotFound), "/run/cri.sock");
        assert!(text.contains("/run/cri.sock") && text.contains("CONTAINER_RUNTIME_SOCK_PATH"), "{text}");
    }
}
