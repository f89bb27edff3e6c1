//! Whole systems: nodes and pods in network namespaces, the real binary, real traffic.
//!
//! `cargo xtask test` runs them as root, one after the other; a plain `cargo test` passes over them. A test that needs a
//! ztunnel or SPIRE says INCOMPLETE where there is none, and passes; xtask counts and names those.
#![allow(clippy::unwrap_used)]

/// The first part of every test's name, by which the run of the crates' own tests leaves them out.
mod whole {
    mod addresses;
    mod bulk;
    mod closing;
    mod command;
    mod enrolment;
    mod first;
    mod h2spec;
    mod hostile;
    mod interop;
    mod istio_ca;
    mod kit;
    mod lifecycle;
    mod live;
    mod observability;
    mod panics;
    mod privileges;
    mod profile;
    mod rotation;
    mod spire;
    mod standing;
    mod status;
    mod trust;
    mod twice;
    mod xds;
    mod zds;
}

use std::io::Write;
use std::sync::Arc;

use testkit::lab::{Lab, Pod};
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::proxy::ProxyKind;
use testkit::{proxy, run, spire};

/// What a test needs beside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Namespaces, hence root.
    Root,
    /// Root, and the binary under test.
    Ringway,
    /// Root, and a ztunnel with its test authority.
    Ztunnel,
    /// Root, the binary under test, and SPIRE's server and agent.
    Spire,
}

/// Set by xtask: system tests are wanted, so a lack of root or of the binary is a failure.
const WANTED: &str = "RINGWAY_SYSTEM";
/// `ztunnel` puts ztunnel in ringway's place: to see that a test can fail, and how the other one does.
const OTHER_PROXY: &str = "RINGWAY_SYSTEM_PROXY";
/// Set by xtask: the file to which tests that could not run add a line.
const INCOMPLETE_FILE: &str = "RINGWAY_INCOMPLETE";

/// True when `test` is to run here.
fn can_run(test: &str, need: Need) -> bool {
    if std::env::var_os(WANTED).is_none() {
        eprintln!("passed over: {test} is run by cargo xtask test");
        return false;
    }
    assert!(run::is_root(), "{test}: network namespaces need root");
    if matches!(need, Need::Ringway | Need::Spire) && kind() == ProxyKind::Ringway {
        proxy::ringway_binary().unwrap();
    }
    let lacking = match need {
        Need::Ztunnel => proxy::ztunnel_binary().and_then(|_| proxy::ztunnel_authority()).err(),
        Need::Spire => spire::binaries().err(),
        Need::Root | Need::Ringway => None,
    };
    if let Some(error) = &lacking {
        report_incomplete(&format!("{test}: {error:#}"));
    }
    lacking.is_none()
}

fn report_incomplete(line: &str) {
    eprintln!("INCOMPLETE: {line}");
    if let Some(path) = std::env::var_os(INCOMPLETE_FILE) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        writeln!(file.unwrap(), "{line}").unwrap();
    }
}

/// Returns from a test that is not to run here, having said so.
macro_rules! needs {
    ($need:ident) => {
        if !crate::can_run(std::thread::current().name().unwrap_or("a test"), crate::Need::$need) {
            return;
        }
    };
}
pub(crate) use needs;

/// The proxy under test.
fn kind() -> ProxyKind {
    match std::env::var(OTHER_PROXY).as_deref() {
        Ok("ztunnel") => ProxyKind::Ztunnel,
        _ => ProxyKind::Ringway,
    }
}

/// The proxy under test on every node of the lab.
fn start(lab: Lab, options: MeshOptions) -> Mesh {
    let kinds = vec![kind(); lab.nodes().len()];
    Mesh::start(lab, MeshOptions { kinds, ..options }).unwrap()
}

/// The mesh of most tests: the pods `client` on the first node and `server` on the second.
fn start_two_pods() -> (Mesh, Arc<Pod>, Arc<Pod>) {
    let (lab, client, server) = two_pods().unwrap();
    (start(lab, MeshOptions::default()), client, server)
}
