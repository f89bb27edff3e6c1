//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

mod access_log;
pub mod ca;
mod certificates;
pub mod environment;
pub mod local;
pub mod logging;
pub mod netns;
mod plane;
pub mod pods;
mod readiness;
mod reconciler;
pub mod redirect;
mod sources;
#[cfg(test)]
mod stand_in;
mod status;
pub mod thread;
