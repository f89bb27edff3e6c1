//! House rules that a machine can check, each a pure function from a file to what is wrong with it.
//!
//! What rustfmt and clippy check is not repeated here.

mod crates;
mod leftovers;
mod length;
mod limits;
mod panics;
mod runtime;
mod source;
mod unsafety;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use source::Source;

/// The document that holds the table of limits.
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "corpus", "artifacts"];

/// One thing that is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    fn new(source: &Source, at: usize, message: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line: source.line(at), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks the workspace at `root`; with `fix` the table of limits is written first.
pub(crate) fn run(root: &Path, fix: bool) -> Result<()> {
    let mut files = Vec::new();
    collect(root, Path::new(""), &mut files)?;
    let sources = sources(&files);
    let mut findings = check_sources(&sources);
    findings.extend(files.iter().flat_map(|(path, text)| leftovers::check_document(path, text)));
    findings.extend(check_crates(root, &files)?);
    findings.extend(check_limits(root, &sources, fix)?);
    findings.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} finding(s) in {} files", findings.len(), files.len());
    }
    println!("tidy: {} files, nothing to say", files.len());
    Ok(())
}

/// The Rust files, with those marked that others declare for tests only.
fn sources(files: &[(String, String)]) -> Vec<Source> {
    let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let mut sources: Vec<Source> = rust.map(|(path, text)| Source::new(path, text)).collect();
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let is_below = |module: &String| {
            source
                .path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if modules.iter().any(is_below) {
            source.mark_as_test();
        }
    }
    sources
}

fn check_sources(sources: &[Source]) -> Vec<Finding> {
    let rules = [
        unsafety::check,
        length::check,
        panics::check,
        runtime::check,
        leftovers::check,
        crates::check_source,
        limits::check_documented,
    ];
    sources.iter().flat_map(|source| rules.iter().flat_map(|rule| rule(source))).collect()
}

fn check_crates(root: &Path, files: &[(String, String)]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        let manifest = toml::from_str(text).with_context(|| root.join(path).display().to_string())?;
        findings.extend(crates::check_manifest(path, &manifest));
    }
    Ok(findings)
}

fn check_limits(root: &Path, sources: &[Source], fix: bool) -> Result<Vec<Finding>> {
    let limits: Vec<_> = sources.iter().flat_map(limits::find).collect();
    let path = root.join(ARCHITECTURE);
    let document = fs::read_to_string(&path).unwrap_or_default();
    if fix && let Some(fixed) = limits::fix(&document, &limits) {
        fs::write(&path, &fixed).with_context(|| format!("writing {}", path.display()))?;
        return Ok(limits::check_table(ARCHITECTURE, &fixed, &limits));
    }
    Ok(limits::check_table(ARCHITECTURE, &document, &limits))
}

/// All text files below `place` that a rule reads, with their paths relative to `root`.
fn collect(root: &Path, place: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    let directory = root.join(place);
    let entries = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = place.join(&name);
        if entry.file_type()?.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, files)?;
            }
        } else if [".rs", ".toml", ".md", ".yaml", ".yml", ".sh"].iter().any(|end| name.ends_with(end)) {
            let text = fs::read_to_string(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            files.push((path.to_string_lossy().into_owned(), text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_workspace_has_no_finding_in_its_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        collect(root, Path::new("xtask"), &mut files).unwrap();
        collect(root, Path::new("tests"), &mut files).unwrap();
        let sources = sources(&files);
        assert!(sources.len() > 20);
        assert_eq!(check_sources(&sources), []);
    }

    #[test]
    fn a_module_for_tests_only_may_unwrap() {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let files = [
            file("engine/src/mesh/mod.rs", "#[cfg(test)]\nmod fixture;\nmod fixtures;\n"),
            file("engine/src/mesh/fixture.rs", "fn f() { a.unwrap(); }"),
            file("engine/src/mesh/fixture/deep.rs", "fn f() { a.unwrap(); }"),
            file("engine/src/mesh/fixtures.rs", "fn f() { a.unwrap(); }"),
        ];
        let findings = check_sources(&sources(&files));
        let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["engine/src/mesh/fixtures.rs"]);
    }
}
