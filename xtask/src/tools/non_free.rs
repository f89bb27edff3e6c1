//! netperf's licence keeps it in Debian's non-free component, which few machines have as a source of packages.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use testkit::shell;

/// Ours, beside whatever sources the machine has.
const SOURCE_FILE: &str = "/etc/apt/sources.list.d/ringway-non-free.sources";

/// Where the machine's own are.
const SOURCES: &str = "/etc/apt/sources.list.d";

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
    let source = source(codename, keyring(&own_sources()));
    println!("netperf is in Debian's non-free component: adding {SOURCE_FILE}");
    fs::write(SOURCE_FILE, source).with_context(|| format!("writing {SOURCE_FILE}"))
}

/// Takes it away again: a source that apt can't read stops apt as a whole.
pub(super) fn remove_source() -> Result<()> {
    if !Path::new(SOURCE_FILE).exists() {
        return Ok(());
    }
    fs::remove_file(SOURCE_FILE).with_context(|| format!("removing {SOURCE_FILE}"))
}

/// sources.list(5), deb822 style.
fn source(codename: &str, keyring: Option<&str>) -> String {
    let keyring = keyring.map(|keyring| format!("Signed-By: {keyring}\n")).unwrap_or_default();
    format!("Types: deb\nURIs: {MIRROR}\nSuites: {codename}\nComponents: non-free\n{keyring}")
}

/// The text of all of the machine's sources in that style.
fn own_sources() -> String {
    let files = fs::read_dir(SOURCES).into_iter().flatten().flatten().map(|file| file.path());
    let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "sources"));
    sources.filter_map(|file| Some(fs::read_to_string(file).ok()? + "\n\n")).collect()
}

/// What the machine's own source of the same mirror is signed by: apt refuses two that differ in it.
fn keyring(sources: &str) -> Option<&str> {
    let mut stanzas = sources.split("\n\n").filter(|stanza| stanza.lines().any(is_mirror));
    stanzas.find_map(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Signed-By:"))).map(str::trim)
}

fn is_mirror(line: &str) -> bool {
    line.strip_prefix("URIs:")
        .is_some_and(|uris| uris.split_whitespace().any(|uri| uri.trim_end_matches('/') == MIRROR))
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
    fn it_is_signed_as_the_machine_s_own_is() {
        let own = "Types: deb\nURIs: http://deb.debian.org/debian-security\nSigned-By: /b.gpg\n\n\
                   Types: deb\n# a comment\nURIs: http://deb.debian.org/debian/\nSigned-By: /a.gpg\n\n";
        assert_eq!(keyring(own), Some("/a.gpg"));
        assert_eq!(keyring("deb http://deb.debian.org/debian bookworm main\n"), None);
        assert!(source("bookworm", Some("/a.gpg")).ends_with("Components: non-free\nSigned-By: /a.gpg\n"));
        assert!(source("bookworm", None).ends_with("Components: non-free\n"));
    }

    #[test]
    fn a_candidate_is_a_version() {
        assert!(has_candidate("netperf:\n  Installed: (none)\n  Candidate: 2.7.0-0.1\n"));
        assert!(!has_candidate("netperf:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
