//! Our TLS against rustls's stream API at the other end, in memory, in both roles.
#![allow(clippy::unwrap_used)]

mod handover;
mod handshake;
mod identity;
mod link;
mod pki;
mod records;
mod revocations;
mod traffic;
