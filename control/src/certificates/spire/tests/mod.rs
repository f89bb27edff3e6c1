//! The source against an agent and a container runtime in memory, in the clock of the test.
#![allow(clippy::unwrap_used)]

mod agent;
mod attestation;
mod authority;
mod outages;
mod scene;
mod svids;
