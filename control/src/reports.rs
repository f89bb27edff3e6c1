//! What the admin port answers in JSON, and what `ringway status`, `explain` and `flows` read: one shape for both ends.
//!
//! Fields are only ever added: a command of one version may ask a proxy of another.

mod explanation;
mod flow;
mod status;

pub use explanation::{Explanation, Outcome, Step};
pub use flow::{AuthType, End, Event, Flow, FlowDirection, FlowLine, Lost, Verdict};
pub use status::{
    CertificateReport, FailureReport, MeshReport, OpenConnections, PlaneReport, PodReport, Problem,
    ShardReport, StatusReport,
};
