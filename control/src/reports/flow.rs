//! `GET /flows`: one JSON object a line.

use serde::{Deserialize, Serialize};

/// A line of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FlowLine {
    Flow(Box<Flow>),
    Lost(Lost),
}

/// A connection that was opened, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub event: Event,
    /// RFC 3339, in UTC.
    pub time: String,
    /// Tells the connection from every other of this process.
    pub connection: String,
    pub direction: FlowDirection,
    pub source: End,
    pub destination: End,
    /// The service that was asked for, `namespace/hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub auth_type: AuthType,
    pub verdict: Verdict,
    /// The policy that decided, or in dry run would have, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seen from the client.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Of one that has ended, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// It never came to stand, and no policy was the reason.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Why it ended before its time, or never began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The reader was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Flows that are missing here.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Opened,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowDirection {
    Outbound,
    Inbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthType {
    /// Both ends have proved their identities.
    #[serde(rename = "SPIFFE")]
    Spiffe,
    #[serde(rename = "none")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allowed,
    Denied,
    /// Allowed, and a policy in dry run has something to say about it.
    Audited,
}

/// One end of a connection, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}
