//! One case alone, for a tool that counts instructions: `cargo xtask instructions` runs it under callgrind.
//!
//! - `instructions list`: name, operations and what one of them is, a case a line, with tabs between;
//! - `instructions processor`: what of the processor the encryption can use, as this process sees it;
//! - `instructions run CASE`: prepares the case and runs its operations in a function that can be told from the rest by its
//!   name.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::case::{CASES, Case, counted_operations};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("instructions: {message}; it takes list, processor or run CASE");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("list"), None) => list(),
        (Some("processor"), None) => println!("{}", processor().join(" ")),
        (Some("run"), Some(name)) => run_case(&name)?,
        (Some("run"), None) => return Err("no case given".to_owned()),
        (Some(other), _) => return Err(format!("what is {other:?}?")),
        (None, _) => return Err("nothing to do".to_owned()),
    }
    Ok(())
}

fn list() {
    for Case { name, operation, operations, .. } in CASES {
        println!("{name}\t{operations}\t{operation}");
    }
}

fn run_case(name: &str) -> Result<(), String> {
    let case = Case::by_name(name).ok_or_else(|| format!("no case is called {name:?}"))?;
    let mut work = case.open();
    work.prepare(case.operations);
    counted_operations(work.as_mut(), case.operations);
    Ok(())
}

/// By these aws-lc chooses how AES-GCM is done.
#[cfg(target_arch = "x86_64")]
fn processor() -> Vec<&'static str> {
    let features = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("movbe", std::arch::is_x86_feature_detected!("movbe")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("vaes", std::arch::is_x86_feature_detected!("vaes")),
        ("vpclmulqdq", std::arch::is_x86_feature_detected!("vpclmulqdq")),
    ];
    features.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "aarch64")]
fn processor() -> Vec<&'static str> {
    let features = [
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha3", std::arch::is_aarch64_feature_detected!("sha3")),
    ];
    features.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor() -> Vec<&'static str> {
    Vec::new()
}
