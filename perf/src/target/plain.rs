//! A TCP copy of our own that does nothing else: the cost of being there at all.

use anyhow::Result;

use super::{Standing, Target, capture, copies};
use crate::record::{Build, Encryption};
use crate::site::Site;

/// As large as it may be without hurting: what is there is read at once.
const BUFFER_KIB: u32 = 64;

#[derive(Debug)]
pub(super) struct Plain {
    pub(super) worker_threads: u32,
}

impl Target for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn encryption(&self) -> Encryption {
        Encryption::None
    }

    fn build(&self) -> Result<Build> {
        copies::build(format!("tokio's copy, {BUFFER_KIB} KiB buffers"))
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        let arguments = [format!("--threads={}", self.worker_threads), format!("--buffer-kib={BUFFER_KIB}")];
        capture::install(site)?;
        copies::start(self.name(), site, &arguments)
    }
}
