//! What this process and all that it starts may use.

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For 10,000 connections of a proxy that has two sockets for each, and some.
const OPEN_FILES: u64 = 65_536;

/// Lets this process and what it starts hold the files that the largest workload takes, as far as that is allowed.
pub(crate) fn raise_open_files() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("RLIMIT_NOFILE")?;
    let wanted = OPEN_FILES.max(soft);
    if wanted > hard && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).context("raising RLIMIT_NOFILE")
}

/// How many files a process may hold open. What this process starts may hold as many.
pub(crate) fn open_files() -> Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE).context("RLIMIT_NOFILE")?.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_raised_at_least_to_what_is_allowed() {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        raise_open_files().unwrap();
        let (after, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(after >= before && after >= OPEN_FILES.min(hard));
    }
}
