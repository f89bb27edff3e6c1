//! ringway. The first of a site makes the certificate authority in a directory that all share.
//!
//! Between nodes it runs in dedicated mode, one process for each pod, so that it is compared with a ztunnel that runs no
//! other way without a control plane. Where all pods are of one node it is one process for all, as in production.

use std::path::PathBuf;

use anyhow::Result;

use super::{Standing, Target, hbone, program};
use crate::record::{Build, Encryption};
use crate::site::Site;
use crate::workload::Workload;

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

    fn cannot(&self, _workload: &Workload) -> Option<String> {
        None
    }

    fn build(&self) -> Result<Build> {
        program::describe(&self.binary)
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        if let Some(node) = &site.node {
            let mut command = hbone::command(&self.binary, site, "node", self.worker_threads);
            command
                .env("RINGWAY_PODS_PATH", site.pods_file())
                .env("RINGWAY_CA_DIR", site.authority_directory());
            return hbone::start_node(&self.name, site, node, &mut command);
        }
        hbone::start(&self.name, site, |pod| {
            let mut command = hbone::dedicated(&self.binary, site, pod, self.worker_threads);
            command.env("RINGWAY_CA_DIR", site.authority_directory());
            command
        })
    }
}
