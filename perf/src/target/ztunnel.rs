//! ztunnel, built in release with its feature `testing`: that brings FAKE_CA, certificates without an authority.

use std::path::PathBuf;

use anyhow::Result;

use super::{Standing, Target, hbone, program};
use crate::record::{Build, Encryption};
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Ztunnel {
    pub(super) binary: PathBuf,
    pub(super) worker_threads: u32,
}

impl Target for Ztunnel {
    fn name(&self) -> &str {
        "ztunnel"
    }

    fn encryption(&self) -> Encryption {
        Encryption::Tunnel
    }

    fn build(&self) -> Result<Build> {
        program::describe(&self.binary)
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        hbone::start(self.name(), site, |pod| {
            let mut command = hbone::dedicated(&self.binary, site, pod, self.worker_threads);
            command.env("FAKE_CA", "true");
            command
        })
    }
}
