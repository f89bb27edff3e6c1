//! Control planes of our own, as real ones behave, and as none should where a test wants it.

pub mod container_runtime;
mod grpc;
pub mod node_agent;
pub mod resources;
mod signer;
pub mod spire_agent;
mod tls_front;
pub mod xds_server;
