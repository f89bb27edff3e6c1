//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod aside;
mod backoff;
pub mod ca;
mod certificates;
mod channel;
pub mod client;
mod crl;
mod endpoints;
pub mod environment;
mod explain;
mod failures;
mod figures;
mod flows;
mod http;
pub mod local;
pub mod logging;
mod metrics;
pub mod netns;
mod plane;
pub mod pods;
mod readiness;
mod reconciler;
pub mod redirect;
pub mod reports;
mod sources;
#[cfg(test)]
mod stand_in;
mod standing;
mod status;
mod succession;
mod telemetry;
pub mod thread;
mod turns;
mod waits;
mod xds;
mod zds;
