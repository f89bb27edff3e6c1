//! What the mesh is, and the two decisions made about it: where a connection goes, and whether it may.

mod identity;

pub use identity::{Identity, IdentityError, TrustDomain};

/// Placeholder of the contract.
#[derive(Debug, Default)]
pub struct Snapshot {}
