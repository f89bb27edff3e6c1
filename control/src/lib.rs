//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod environment;
pub mod logging;
pub mod netns;
pub mod readiness;
pub mod redirect;
