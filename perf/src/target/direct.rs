//! Nothing: what the kernel and the load generators can do.

use anyhow::Result;
use testkit::process::Process;

use super::{Build, Target};
use crate::pair::Pair;

#[derive(Debug)]
pub(super) struct Direct;

impl Target for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn is_encrypted(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Build> {
        Ok(Build::default())
    }

    fn start(&self, _: &Pair) -> Result<Vec<Process>> {
        Ok(Vec::new())
    }
}
