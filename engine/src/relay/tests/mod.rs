//! Relays, pairs and tunnels over real sockets, turned by hand.
#![allow(clippy::unwrap_used)]

pub(crate) mod fixture;

mod allocations;
mod bytes;
mod chaos;
mod endings;
mod pairs;
mod standing;
mod tunnels;
