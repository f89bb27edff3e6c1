//! The other end of a tunnel as a test wants it: with any certificate, any frames, any silence.
//!
//! TLS is rustls, frames are written by hand: what is tested here has no part in it.

pub mod ask;
pub mod frames;
pub mod impostor;
pub mod relay;
pub mod tls;
