//! .

/// Placeholder of the contract.
#[derive(Debug)]
pub struct Credentials {}
