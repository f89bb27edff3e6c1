//! Which proxies can be put on a node, and how each is started.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::lab::{Node, Pod};

/// Where the ringway binary is, if not beside the test's own.
pub const RINGWAY_BIN: &str = "RINGWAY_BIN";
/// A ztunnel built with its feature `testing`, for interoperability.
pub const RINGWAY_ZTUNNEL: &str = "RINGWAY_ZTUNNEL";
/// The directory with the root certificate and key of that build's test authority: `src/tls` of its source.
pub const RINGWAY_ZTUNNEL_CA: &str = "RINGWAY_ZTUNNEL_CA";

/// The names inside RINGWAY_CA_DIR.
pub const ROOT_CERT_FILE: &str = "root-cert.pem";
pub const ROOT_KEY_FILE: &str = "root-key.pem";

/// The port of the readiness probe.
pub const READINESS_PORT: u16 = 15021;
/// The listeners of a captured pod.
pub const POD_PORTS: [u16; 3] = [15001, 15006, 15008];

/// What captures the pods of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// One ringway for the node.
    Ringway,
    /// One ztunnel in dedicated mode in every enrolled pod.
    Ztunnel,
    /// Nothing: enrolled pods are left alone.
    Direct,
}

/// How proxies are started.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// The ringway to start; [`ringway_binary`] finds one if it is not named.
    pub ringway: Option<PathBuf>,
    pub log: String,
    pub worker_threads: u32,
    pub certificate_ttl: Duration,
    pub pin: String,
    /// Further environment; it wins over what is above.
    pub environment: Vec<(String, String)>,
    /// A program with arguments that starts the proxy given as its last arguments: what takes privileges away.
    pub launcher: Vec<String>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            ringway: None,
            log: "info".to_owned(),
            worker_threads: 2,
            certificate_ttl: Duration::from_secs(24 * 3600),
            pin: "off".to_owned(),
            environment: Vec::new(),
            launcher: Vec::new(),
        }
    }
}

impl ProxyOptions {
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command that runs `binary`, with the environment both kinds of proxy know and nothing of the caller's.
    fn command(&self, binary: &Path) -> Command {
        let mut command = match self.launcher.split_first() {
            None => Command::new(binary),
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(binary);
                command
            }
        };
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        command.env_clear().env("PATH", path).env("RUST_BACKTRACE", "1");
        command.env("RUST_LOG", &self.log).env("CLUSTER_ID", "Kubernetes");
        command.env("ZTUNNEL_WORKER_THREADS", self.worker_threads.to_string());
        command
    }

    /// The ringway these options start.
    pub fn ringway_binary(&self) -> Result<PathBuf> {
        self.ringway.clone().map_or_else(ringway_binary, Ok)
    }

    /// ringway for a whole node.
    pub fn ringway(&self, node: &Node, xds: &Path, pods: &Path, authority: &Path) -> Result<Command> {
        let mut command = self.command(&self.ringway_binary()?);
        command.arg("proxy").env("NODE_NAME", &node.name);
        command.env("LOCAL_XDS_PATH", xds).env("RINGWAY_PODS_PATH", pods).env("RINGWAY_CA_DIR", authority);
        command.env("RINGWAY_CA_TTL", format!("{}s", self.certificate_ttl.as_secs()));
        command.env("RINGWAY_PIN", &self.pin);
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }

    /// ztunnel for one pod.
    pub fn ztunnel(&self, pod: &Pod, xds: &Path) -> Result<Command> {
        let mut command = self.command(&ztunnel_binary()?);
        command.arg("proxy").env("NODE_NAME", &pod.node_name).env("FAKE_CA", "true");
        command.env("PROXY_MODE", "dedicated").env("PROXY_WORKLOAD_INFO", pod.workload_info());
        command.env("PACKET_MARK", "1337").env("LOCAL_XDS_PATH", xds);
        command.env("XDS_ADDRESS", "").env("CA_ADDRESS", "").env("ISTIO_META_DNS_CAPTURE", "false");
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }
}

/// The ringway under test: `RINGWAY_BIN`, else the one built beside this program.
pub fn ringway_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(RINGWAY_BIN) {
        return existing(path.into(), RINGWAY_BIN);
    }
    let own = std::env::current_exe().context("finding this program")?;
    // A test lies in target/debug/deps, a program in target/debug.
    let found =
        own.ancestors().skip(1).take(2).map(|place| place.join("ringway")).find(|file| file.is_file());
    found.with_context(|| format!("no ringway beside {}: build it, or set {RINGWAY_BIN}", own.display()))
}

/// The ztunnel to interoperate with.
pub fn ztunnel_binary() -> Result<PathBuf> {
    let path = std::env::var_os(RINGWAY_ZTUNNEL).with_context(|| format!("{RINGWAY_ZTUNNEL} is not set"))?;
    existing(path.into(), RINGWAY_ZTUNNEL)
}

/// The files of ztunnel's test authority: certificate and key.
pub fn ztunnel_authority() -> Result<(PathBuf, PathBuf)> {
    let place =
        std::env::var_os(RINGWAY_ZTUNNEL_CA).with_context(|| format!("{RINGWAY_ZTUNNEL_CA} is not set"))?;
    let place = PathBuf::from(place);
    Ok((
        existing(place.join("root-cert.pem"), RINGWAY_ZTUNNEL_CA)?,
        existing(place.join("ca-key.pem"), RINGWAY_ZTUNNEL_CA)?,
    ))
}

/// Puts ztunnel's test authority, which is built into it, where ringway finds it.
pub fn borrow_ztunnel_authority(directory: &Path) -> Result<()> {
    let (certificate, key) = ztunnel_authority()?;
    let key_file = directory.join(ROOT_KEY_FILE);
    fs::copy(certificate, directory.join(ROOT_CERT_FILE))?;
    fs::copy(key, &key_file)?;
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn existing(path: PathBuf, variable: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{variable}: no file {}", path.display());
    }
    Ok(path)
}

/// Asks the readiness probe of the namespace this thread is in; true for 200.
pub fn is_ready() -> bool {
    use std::io::{Read, Write};
    let address = (Ipv4Addr::LOCALHOST, READINESS_PORT).into();
    let Ok(mut stream) = crate::traffic::connect_here(address) else { return false };
    let request = b"GET /healthz/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut status = [0; 12];
    stream.write_all(request).is_ok()
        && stream.read_exact(&mut status).is_ok()
        && &status[..9] == b"HTTP/1.1 "
        && &status[9..] == b"200"
}
