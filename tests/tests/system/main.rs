//! Whole systems: nodes and pods in network namespaces, the real binary, real traffic.
//!
//! `cargo xtask test` runs them as root, one after the other. Run otherwise, a test that lacks something says INCOMPLETE
//! and why, and passes; xtask counts those and names them.
#![allow(clippy::unwrap_used)]

mod kit;

use std::io::Write;

use testkit::{proxy, run};

/// What a test needs beside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Namespaces, hence root.
    Root,
    /// Root, and the binary under test.
    Ringway,
    /// Root, both proxies, and ztunnel's test authority.
    Ztunnel,
}

/// Set by xtask: the file to which tests that could not run add a line.
const INCOMPLETE_FILE: &str = "RINGWAY_INCOMPLETE";
/// Set by xtask: root and the binary are there, so their lack is a failure.
const REQUIRED: &str = "RINGWAY_REQUIRED";

/// True when `test` can run here.
fn can_run(test: &str, need: Need) -> bool {
    let missing = missing(need);
    let Some(reason) = missing else { return true };
    assert!(need == Need::Ztunnel || std::env::var_os(REQUIRED).is_none(), "{test}: {reason}");
    let line = format!("INCOMPLETE: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os(INCOMPLETE_FILE) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
    false
}

fn missing(need: Need) -> Option<String> {
    if !run::is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let binary = match need {
        Need::Root => Ok(()),
        Need::Ringway => proxy::ringway_binary().map(drop),
        Need::Ztunnel => proxy::ringway_binary()
            .and_then(|_| proxy::ztunnel_binary())
            .and_then(|_| proxy::ztunnel_authority())
            .map(drop),
    };
    binary.err().map(|error| format!("{error:#}"))
}

/// Returns from a test that cannot run here, saying so.
macro_rules! needs {
    ($need:ident) => {
        if !crate::can_run(std::thread::current().name().unwrap_or("a test"), crate::Need::$need) {
            return;
        }
    };
}
pub(crate) use needs;
