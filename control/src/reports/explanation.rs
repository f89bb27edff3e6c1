//! `GET /explain`: what would become of a connection, and why.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked, as it was understood.
    pub source: String,
    pub destination: String,
    pub outcome: Outcome,
    /// In the order in which they are taken; the last is the one that decides, but for `lately`, which tells what became of
    /// others before.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Through a tunnel, with mutual TLS.
    Encrypted,
    /// As it is, in plaintext.
    Plaintext,
    /// It is not made.
    Refused,
    /// A policy forbids it.
    Denied,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `source`, `destination`, `pod`, `route`, `certificate`, `deliver`, `policy`, `authorise`, `lately`
    pub step: String,
    pub finding: String,
    /// What to do, where it went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}
