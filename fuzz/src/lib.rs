//! What is fuzzed, as plain functions of a byte string: `fuzz_targets/` hands them to libFuzzer, `tests/seeded.rs` runs
//! them over seeded inputs on a stable compiler.
//!
//! Each function panics if the session does something wrong: where the h2 crate can say what is right, it is asked, and
//! elsewhere the session is compared with itself, cut, handed over and delayed in another way.

pub mod choices;
#[cfg(feature = "oracle")]
pub mod frames;
#[cfg(feature = "oracle")]
pub mod hpack;
pub mod session;
