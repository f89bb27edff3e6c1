//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

mod access_log;
mod backoff;
pub mod ca;
#[allow(dead_code)]
mod certificates;
pub mod environment;
pub mod local;
pub mod logging;
pub mod netns;
mod plane;
pub mod pods;
mod readiness;
#[allow(dead_code)]
mod reconciler;
pub mod redirect;
mod sources;
#[cfg(test)]
mod stand_in;
#[allow(dead_code)]
mod status;
pub mod thread;
mod zds;
