//! `cargo xtask test`: every crate's tests, then whole systems, and at the end what passed, failed or could not run.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testkit::run::{Run, is_root};

use crate::tools;
use crate::workspace::{self, Profile};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the tests whose name contains this.
    filter: Option<String>,
    /// Only whole systems.
    #[arg(long)]
    system: bool,
    /// A release build of the binary under test (slower to build, faster to run).
    #[arg(long)]
    release: bool,
    /// Only names missing system tools instead of installing them.
    #[arg(long)]
    no_install: bool,
}

/// What one run of cargo test came to.
struct Outcome {
    name: &'static str,
    passed: u64,
    failed: u64,
    seconds: u64,
    succeeded: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the system tests make network namespaces: run this as root (cargo test --workspace runs the rest)"
        );
    }
    tools::require(
        tools::SYSTEM,
        if options.no_install { tools::Lack::Report } else { tools::Lack::Install },
    )?;
    let binary = build(options.release)?;
    let mut outcomes = Vec::new();
    let mut filter: Vec<&str> = options.filter.iter().map(String::as_str).collect();
    if !options.system {
        // The system tests are in a module of that name; here they would only be passed over.
        let arguments =
            [&["test", "--workspace", "--no-fail-fast", "--"], &filter[..], &["--skip", "whole::"]];
        let arguments = arguments.concat();
        outcomes.push(run_tests("crates", &mut workspace::cargo(&arguments))?);
        // The fuzz targets over seeded input: a workspace of their own, in the same target directory.
        let fuzz = ["test", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target", "--"];
        outcomes.push(run_tests("fuzz targets", &mut workspace::cargo(&[&fuzz[..], &filter[..]].concat()))?);
    }
    let incomplete = Run::current()?.unique_directory("test")?.join("incomplete");
    filter.push("--test-threads=1");
    let mut system =
        workspace::cargo(&[&["test", "--workspace", "--test", "system", "--"], &filter[..]].concat());
    system.env("RINGWAY_SYSTEM", "1").env("RINGWAY_BIN", binary).env("RINGWAY_INCOMPLETE", &incomplete);
    outcomes.push(run_tests("whole systems", &mut system)?);
    let incomplete = std::fs::read_to_string(&incomplete).unwrap_or_default();
    conclude(&outcomes, &incomplete)
}

/// Builds all that is tested in one go, so that nothing is built twice; the binary under test.
fn build(release: bool) -> Result<PathBuf> {
    workspace::run_cargo(&["build", "--workspace", "--lib", "--bins", "--tests"])?;
    if release {
        workspace::run_cargo(&["build", "--release", "--package", "node"])?;
        return workspace::binary(Profile::Release, "ringway");
    }
    workspace::binary(Profile::Dev, "ringway")
}

/// Runs cargo test, passes on what it says and counts what it counts.
fn run_tests(name: &'static str, command: &mut Command) -> Result<Outcome> {
    let begin = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
    let output = BufReader::new(child.stdout.take().context("no pipe from cargo")?);
    let (mut passed, mut failed) = (0, 0);
    for line in output.lines() {
        let line = line.context("reading what cargo says")?;
        println!("{line}");
        if let Some((more_passed, more_failed)) = counts(&line) {
            passed += more_passed;
            failed += more_failed;
        }
    }
    let succeeded = child.wait()?.success();
    Ok(Outcome { name, passed, failed, seconds: begin.elapsed().as_secs(), succeeded })
}

/// Passed and failed from `test result: ok. 7 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut words = numbers.split_whitespace();
    let passed = words.next()?.parse().ok()?;
    let failed = words.nth(1)?.parse().ok()?;
    Some((passed, failed))
}

fn conclude(outcomes: &[Outcome], incomplete: &str) -> Result<()> {
    println!();
    for outcome in outcomes {
        let verdict = if outcome.succeeded { "ok" } else { "FAILED" };
        let Outcome { name, passed, failed, seconds, .. } = outcome;
        println!("{name:<14} {verdict:<7} {passed:>5} passed {failed:>3} failed   {seconds:>4} s");
    }
    for line in incomplete.lines() {
        println!("INCOMPLETE: {line}");
    }
    if outcomes.iter().any(|outcome| !outcome.succeeded) {
        bail!("tests failed");
    }
    let left_out = incomplete.lines().count();
    match left_out {
        0 => println!("all tests passed"),
        _ => {
            println!("all tests passed, {left_out} of them without what they need to run (INCOMPLETE above)")
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_result_line_are_read() {
        let table = [
            (
                "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 7.5s",
                Some((7, 0)),
            ),
            ("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", Some((5, 2))),
            ("test kit::a ... ok", None),
            ("running 7 tests", None),
        ];
        for (line, expected) in table {
            assert_eq!(counts(line), expected, "{line}");
        }
    }
}
