//! A whole shard: set-up tasks, pool, pods, drain, end.
#![allow(clippy::unwrap_used)]

pub(crate) mod bench;

mod half_closed;
mod judgement;
mod observations;
mod pods;
mod revocation;
mod statistics;
mod tunnels;
