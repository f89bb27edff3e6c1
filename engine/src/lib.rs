//! The data plane of ringway: shards, rings, tunnels.
#![deny(unsafe_code)]

pub mod engine;
pub mod handover;
pub mod hbone;
pub mod mesh;
pub mod observe;
pub mod tls;
pub mod uring;

mod headers;
mod inbound;
mod net;
mod outbound;
mod passthrough;
mod pool;
mod refused;
mod relay;
mod shard;

/// Tests prove with it that carrying bytes allocates nothing.
#[cfg(test)]
#[path = "../tests/counting/mod.rs"]
mod counting;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;
