//! ringway, with a certificate authority made for the pair.

use std::path::PathBuf;

use anyhow::Result;
use testkit::authority::Authority;
use testkit::process::Process;

use super::{Build, Target, hbone};
use crate::pair::Pair;

#[derive(Debug)]
pub(super) struct Ringway {
    pub(super) binary: PathBuf,
    pub(super) worker_threads: u32,
}

impl Target for Ringway {
    fn name(&self) -> &'static str {
        "ringway"
    }

    fn is_encrypted(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Build> {
        Build::of(&self.binary)
    }

    fn start(&self, pair: &Pair) -> Result<Vec<Process>> {
        // Made before the first of them starts: two that make one at once would trust different roots.
        let authority = Authority::create(pair.directory())?;
        hbone::start(self.name(), pair, |pod| {
            let mut command = hbone::command(&self.binary, pair, pod, self.worker_threads);
            command.env("RINGWAY_CA_DIR", authority.directory());
            Ok(command)
        })
    }
}
