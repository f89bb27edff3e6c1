//! ringway. The first of a site makes the certificate authority in a directory that all share.

use std::path::PathBuf;

use anyhow::Result;

use super::{Standing, Target, hbone, program};
use crate::record::{Build, Encryption};
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Ringway {
    /// `ringway`, or `ringway:NAME` of several builds.
    pub(super) name: String,
    pub(super) binary: PathBuf,
    pub(super) worker_threads: u32,
}

impl Target for Ringway {
    fn name(&self) -> &str {
        &self.name
    }

    fn encryption(&self) -> Encryption {
        Encryption::Tunnel
    }

    fn build(&self) -> Result<Build> {
        program::describe(&self.binary)
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        hbone::start(&self.name, site, |pod| {
            let mut command = hbone::command(&self.binary, site, pod, self.worker_threads);
            command.env("RINGWAY_CA_DIR", site.authority_directory());
            command
        })
    }
}
