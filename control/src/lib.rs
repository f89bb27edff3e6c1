//! The control thread of ringway: everything that talks to a control plane or a person.
#![forbid(unsafe_code)]

pub mod local;
