//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

mod access_log;
pub mod ca;
pub mod environment;
pub mod local;
pub mod logging;
pub mod netns;
mod plane;
pub mod pods;
mod readiness;
pub mod redirect;
mod renewals;
#[cfg(test)]
mod stand_in;
mod standalone;
pub mod thread;
