//! Nothing: what the kernel and the load generators can do.

use anyhow::Result;

use super::{Standing, Target};
use crate::record::{Build, Encryption};
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Direct;

impl Target for Direct {
    fn name(&self) -> &str {
        "direct"
    }

    fn encryption(&self) -> Encryption {
        Encryption::None
    }

    fn build(&self) -> Result<Build> {
        Ok(Build::default())
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        Ok(Standing::of_pods(site))
    }
}
