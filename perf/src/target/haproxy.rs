//! HAProxy as Debian has it, mTLS for each connection: what a proxy without a mesh's tunnels does.
//!
//! Where a connection was meant to go travels in a PROXY header. HAProxy sends it in the clear before the handshake: who
//! looks at the wire learns the application's port, and nothing else that the packets' own headers do not say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::process::Process;
use testkit::shell;

use super::certificates::Authority;
use super::{Standing, Target, capture, program};
use crate::copy::{CAPTURE_PORT, TUNNEL_PORT};
use crate::record::{Build, Encryption};
use crate::site::{Pod, Site};

/// What both sides say first. AES-128 before AES-256, as ringway has it, so that like is compared with like.
const GLOBAL: &str = "global
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384
    ssl-default-server-options ssl-min-ver TLSv1.3
    ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384
";

const DEFAULTS: &str = "defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
";

#[derive(Debug)]
pub(super) struct Haproxy {
    pub(super) worker_threads: u32,
}

/// Files of one side.
struct Files<'f> {
    /// Its certificate and key.
    certificate: &'f Path,
    /// Whom it believes.
    root: &'f Path,
}

impl Haproxy {
    /// Takes what is redirected, and goes where it was going, to another port.
    fn client_side(&self, files: &Files<'_>) -> String {
        let Files { certificate, root } = files;
        let (certificate, root) = (certificate.display(), root.display());
        self.config(&format!(
            "listen out\n    bind :{CAPTURE_PORT}\n    server pod *:{TUNNEL_PORT} ssl crt {certificate} \
             ca-file {root} verify required send-proxy-v2\n"
        ))
    }

    /// Goes where the PROXY header says.
    fn server_side(&self, files: &Files<'_>) -> String {
        let Files { certificate, root } = files;
        let (certificate, root) = (certificate.display(), root.display());
        self.config(&format!(
            "listen in\n    bind :{TUNNEL_PORT} ssl crt {certificate} ca-file {root} verify required \
             accept-proxy\n    server application *\n"
        ))
    }

    fn config(&self, section: &str) -> String {
        format!("{GLOBAL}    nbthread {}\n\n{DEFAULTS}\n{section}", self.worker_threads)
    }

    fn start_one(&self, site: &Site, authority: &Authority, pod: &Pod, is_client: bool) -> Result<Process> {
        let file = |kind: &str| site.directory().join(format!("haproxy-{}.{kind}", pod.name));
        let (root, certificate, config) = (file("ca.pem"), file("pem"), file("cfg"));
        fs::write(&root, &authority.root)?;
        fs::write(&certificate, authority.issue(&pod.name)?)?;
        let files = Files { certificate: &certificate, root: &root };
        let (text, port) = if is_client {
            (self.client_side(&files), CAPTURE_PORT)
        } else {
            (self.server_side(&files), TUNNEL_PORT)
        };
        fs::write(&config, text)?;
        let mut command = Command::new(binary()?);
        // In the foreground, one process.
        command.arg("-db").arg("-f").arg(&config);
        capture::start_listening(self.name(), pod, &mut command, port)
    }
}

impl Target for Haproxy {
    fn name(&self) -> &str {
        "haproxy"
    }

    fn encryption(&self) -> Encryption {
        Encryption::Tunnel
    }

    fn unavailable(&self) -> Option<String> {
        binary().err().map(|error| error.to_string())
    }

    fn build(&self) -> Result<Build> {
        let said = shell::output(Command::new(binary()?).arg("-vv"))?;
        let library = said.lines().find(|line| line.starts_with("Running on OpenSSL version"));
        let library = library.and_then(|line| line.split_once(": ")).map_or("", |(_, version)| version);
        let notes = format!("TLS 1.3 for each connection, both sides verified; {library}");
        let version = said.lines().next().unwrap_or_default().to_owned();
        Ok(Build { version, sha256: program::checksum(&binary()?)?, notes })
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        capture::install(site)?;
        let authority = Authority::new()?;
        let start = |pods: &[Pod], are_clients| {
            let pods = pods.iter();
            pods.map(|pod| self.start_one(site, &authority, pod, are_clients)).collect::<Result<_>>()
        };
        let server_side = start(&site.servers, false)?;
        let client_side = start(&site.clients, true)?;
        Ok(Standing { client_side, server_side, ..Standing::of_pods(site) })
    }
}

fn binary() -> Result<PathBuf> {
    shell::find_program("haproxy").context("haproxy is not installed: apt-get install haproxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_proves_itself_and_says_or_reads_where_to() {
        let haproxy = Haproxy { worker_threads: 3 };
        let files = Files { certificate: Path::new("/d/pod.pem"), root: Path::new("/d/ca.pem") };
        let (client, server) = (haproxy.client_side(&files), haproxy.server_side(&files));
        for config in [&client, &server] {
            for needed in ["nbthread 3", "crt /d/pod.pem", "ca-file /d/ca.pem", "verify required"] {
                assert!(config.contains(needed), "{needed} is not in {config}");
            }
        }
        assert!(
            client.contains("bind :15001\n    server pod *:15008 ssl") && client.contains("send-proxy-v2")
        );
        assert!(
            server.contains("bind :15008 ssl") && server.contains("accept-proxy\n    server application *\n")
        );
    }
}
