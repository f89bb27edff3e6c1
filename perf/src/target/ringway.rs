//! ringway. The first of a pair makes the certificate authority in a directory that both share.

use std::path::PathBuf;

use anyhow::Result;
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
        hbone::start(self.name(), pair, |pod| {
            let mut command = hbone::command(&self.binary, pair, pod, self.worker_threads);
            command.env("RINGWAY_CA_DIR", pair.authority_directory());
            Ok(command)
        })
    }
}
