//! Generates the Rust side of `proto/*.proto`. protox compiles them, so that no `protoc` is needed.

use std::path::Path;

/// Every file that is not imported by another one of these.
const FILES: [&str; 8] = [
    "authorization.proto",
    "ca.proto",
    "cri.proto",
    "delegated_identity.proto",
    "discovery.proto",
    "profile.proto",
    "workload.proto",
    "zds.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new("proto");
    println!("cargo::rerun-if-changed={}", directory.display());
    let descriptors = protox::compile(FILES, [directory])?;
    tonic_prost_build::configure()
        .build_server(cfg!(feature = "server"))
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
