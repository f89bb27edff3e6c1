//! What the system has to offer before a shard can start, and what to do when it does not.
//!
//! Everything is tried, nothing is concluded from version numbers alone. Limits are raised to what the process may have.
//! The judgements are functions of plain facts, apart from how the facts were got.

mod capabilities;
mod kernel;
mod limits;

use std::fs;

use thiserror::Error;

pub(super) use kernel::explain_setup_now;

/// One thing the proxy needs of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub name: &'static str,
    /// What was found, or why it does not do.
    pub outcome: Result<String, Failure>,
    /// The proxy cannot start without it. Otherwise a part of it will not work, which the cause names.
    pub fatal: bool,
}

/// What the proxy is to do, as far as it takes privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// It enters the network namespaces of pods.
    pub enters: bool,
    /// Its sockets carry a mark, or must have the addresses of clients.
    pub marks: bool,
}

/// Why something does not work, and what whoever runs the proxy can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{cause}; {cure}")]
pub struct Failure {
    pub cause: String,
    pub cure: String,
}

/// Raises the limits of this process, tries what the driver uses, and says what was found.
pub fn check(duties: Duties) -> Vec<Requirement> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut requirements = vec![kernel::version()];
    // Before the ring: old kernels count its memory against the limit.
    requirements.extend(limits::raise_all());
    requirements.extend(kernel::io_uring());
    requirements.extend(capabilities::check(&status, duties));
    requirements
}

// === impl Failure ===

impl Failure {
    fn new(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cause: cause.into(), cure: cure.into() }
    }
}

/// The value of a field of `/proc/self/status`.
fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_machine_passes() {
        let requirements = check(Duties { enters: true, marks: true });
        let names: Vec<_> = requirements.iter().map(|requirement| requirement.name).collect();
        for name in ["kernel", "io_uring", "io_uring operations", "io_uring receive", "memlock", "open files"]
        {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        for requirement in requirements {
            assert!(requirement.outcome.is_ok() || !requirement.fatal, "{requirement:?}");
        }
    }

    #[test]
    fn finds_fields_of_the_status() {
        let status = "Name:\tringway\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t000001fffeffffff\n";
        for (name, value) in [
            ("Seccomp", Some("2")),
            ("Seccomp_filters", Some("1")),
            ("CapEff", Some("000001fffeffffff")),
            ("Cap", None),
            ("CapBnd", None),
        ] {
            assert_eq!(status_field(status, name), value, "{name}");
        }
    }
}
