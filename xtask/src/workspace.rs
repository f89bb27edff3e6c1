//! Where this workspace is, and cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Which build of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A program of the workspace as the last build left it.
pub(crate) fn binary(profile: Profile, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    // This program lies in target/PROFILE.
    let target = own.parent().and_then(Path::parent).context("this program is not in a target directory")?;
    let path = target.join(profile.directory()).join(name);
    if !path.is_file() {
        bail!("no {}: was it built elsewhere?", path.display());
    }
    Ok(path)
}

/// Cargo at the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs cargo, which shows its own progress.
pub(crate) fn run_cargo(arguments: &[&str]) -> Result<()> {
    let status = cargo(arguments).status().with_context(|| format!("cargo {}", arguments.join(" ")))?;
    if !status.success() {
        bail!("cargo {}: {status}", arguments.join(" "));
    }
    Ok(())
}
