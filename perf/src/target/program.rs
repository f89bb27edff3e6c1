//! What a binary says of itself.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use testkit::shell;

use crate::record::Build;

/// Asks a binary that knows the subcommand `version`.
pub(super) fn describe(binary: &Path) -> Result<Build> {
    let version = shell::output(Command::new(binary).arg("version"))?;
    Ok(Build { version: short(&version), sha256: checksum(binary)?, notes: String::new() })
}

/// The beginning of its SHA-256.
pub(super) fn checksum(binary: &Path) -> Result<String> {
    let sum = shell::output(Command::new("sha256sum").arg(binary))?;
    Ok(sum.chars().take(12).collect())
}

/// A version in a few words: of Istio's `BuildInfo{Version:"…", …}` only that.
fn short(version: &str) -> String {
    let istio = version.split_once("{Version:\"").and_then(|(_, rest)| rest.split_once('"'));
    let version = istio.map_or(version, |(version, _)| version);
    version.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_cut_to_what_names_the_build() {
        for (said, expected) in [
            ("ringway 0.1.0\ncommit abc\n", "ringway 0.1.0 commit abc"),
            ("version.BuildInfo{Version:\"62d826-dirty\", GitRevision:\"62d\"}\n", "62d826-dirty"),
        ] {
            assert_eq!(short(said), expected);
        }
    }
}
