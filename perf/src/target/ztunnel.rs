//! ztunnel, built in release with its feature `testing`: that brings FAKE_CA, certificates without an authority.

use std::path::PathBuf;

use anyhow::Result;
use testkit::process::Process;

use super::{Build, Target, hbone};
use crate::pair::Pair;

#[derive(Debug)]
pub(super) struct Ztunnel {
    pub(super) binary: PathBuf,
    pub(super) worker_threads: u32,
}

impl Target for Ztunnel {
    fn name(&self) -> &'static str {
        "ztunnel"
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
            command.env("FAKE_CA", "true");
            Ok(command)
        })
    }
}
