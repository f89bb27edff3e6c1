//! The data plane of ringway: shards, rings, tunnels.
#![deny(unsafe_code)]

pub mod engine;
pub mod handover;
pub mod hbone;
pub mod mesh;
pub mod observe;
pub mod tls;
pub mod uring;
