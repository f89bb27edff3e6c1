//! The control thread: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

pub mod ca;
pub mod local;
