//! A whole shard: set-up tasks, pool, pods, drain, end.
#![allow(clippy::unwrap_used)]

pub(crate) mod bench;

mod judgement;
mod observations;
mod pods;
mod revocation;
mod statistics;
mod tunnels;
