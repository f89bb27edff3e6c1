//! netperf's licence keeps it in Debian's non-free component, which few machines have as a source of packages.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use testkit::shell;

/// Ours, beside whatever sources the machine has.
const SOURCE_FILE: &str = "/etc/apt/sources.list.d/ringway-non-free.list";

const MIRROR: &str = "http://deb.debian.org/debian";

/// Adds that component of this machine's release unless a package of it is known already.
pub(super) fn add_source() -> Result<()> {
    let known = shell::run("apt-cache policy netperf").unwrap_or_default();
    if has_candidate(&known) || Path::new(SOURCE_FILE).exists() {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").context("which release is this?")?;
    let Some(codename) = codename(&release) else {
        bail!("netperf is in Debian's non-free component; this is no Debian: install netperf yourself");
    };
    let line = format!("deb {MIRROR} {codename} non-free\n");
    println!("netperf is in Debian's non-free component: adding {SOURCE_FILE} with\n    {}", line.trim_end());
    fs::write(SOURCE_FILE, line).with_context(|| format!("writing {SOURCE_FILE}"))
}

/// Whether `apt-cache policy` knows a version to install.
fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.is_some_and(|version| version != "(none)")
}

/// The name of a Debian release in os-release(5).
fn codename(release: &str) -> Option<&str> {
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    (field("ID") == Some("debian")).then(|| field("VERSION_CODENAME")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_has_the_component() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(codename(debian), Some("bookworm"));
        assert_eq!(codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }

    #[test]
    fn a_candidate_is_a_version() {
        assert!(has_candidate("netperf:\n  Installed: (none)\n  Candidate: 2.7.0-0.1\n"));
        assert!(!has_candidate("netperf:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
