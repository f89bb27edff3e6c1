//! SPIRE's agent of a node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::server::{PORT, START_TIMEOUT};
use super::{DELEGATE, TRUST_DOMAIN};
use crate::netns::Netns;
use crate::process::{Process, wait_until};
use crate::proxy::ProxyOptions;
use crate::run::Run;

/// The configuration of an agent that lets proxies act for pods.
const TRUSTFUL: &str = "agent.conf";
/// The configuration of one that lets nobody.
const MISTRUSTFUL: &str = "mistrustful.conf";

/// How a proxy names a workload to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attest {
    Selectors,
    /// By a process, found through the container runtime at this socket.
    Process {
        runtime: PathBuf,
    },
}

/// A running agent.
#[derive(Debug)]
pub struct SpireAgent {
    // Before the namespace it runs in.
    process: Process,
    netns: Arc<Netns>,
    directory: PathBuf,
    binary: PathBuf,
}

impl SpireAgent {
    pub(super) fn start(
        name: &str,
        binary: &Path,
        netns: &Arc<Netns>,
        token: &str,
        bundle: &str,
    ) -> Result<Self> {
        let directory = Run::current()?.unique_directory(name)?;
        fs::create_dir(directory.join("public"))?;
        fs::write(directory.join("bundle.pem"), bundle)?;
        for (file, delegates) in [(TRUSTFUL, format!("\"{DELEGATE}\"")), (MISTRUSTFUL, String::new())] {
            let text = configuration(&directory.display().to_string(), token, &delegates);
            fs::write(directory.join(file), text)?;
        }
        let process = run(binary, netns, &directory, TRUSTFUL)?;
        let mut agent = Self { process, netns: Arc::clone(netns), directory, binary: binary.to_owned() };
        agent.wait_listening()?;
        Ok(agent)
    }

    /// The socket for delegates.
    pub fn admin_socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    /// The socket for workloads, which is none for delegates.
    pub fn public_socket(&self) -> PathBuf {
        self.directory.join("public/api.sock")
    }

    /// Has a proxy get its certificates here.
    pub fn serve(&self, options: ProxyOptions, attest: &Attest) -> ProxyOptions {
        let options = options
            .environment("SPIRE_ENABLED", "true")
            .environment("RINGWAY_CA_DIR", "")
            .environment("SPIRE_ADMIN_ENDPOINT_SOCKET", &format!("unix://{}", self.admin_socket().display()));
        match attest {
            Attest::Selectors => options.environment("RINGWAY_SPIRE_ATTEST", "selectors"),
            Attest::Process { runtime } => {
                let runtime = runtime.display().to_string();
                options.environment("CONTAINER_RUNTIME_SOCK_PATH", &runtime)
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again after its end, with what it knew on disk.
    pub fn restart(&mut self) -> Result<()> {
        self.start_again(TRUSTFUL)
    }

    /// The same, but nobody may act for others.
    pub fn restart_without_delegates(&mut self) -> Result<()> {
        self.start_again(MISTRUSTFUL)
    }

    /// Stopped, as a process under a debugger is, or set going again.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.process.signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    fn start_again(&mut self, configuration: &str) -> Result<()> {
        self.process = run(&self.binary, &self.netns, &self.directory, configuration)?;
        self.wait_listening()
    }

    fn wait_listening(&mut self) -> Result<()> {
        let socket = self.public_socket();
        wait_until("SPIRE's agent", START_TIMEOUT, || {
            self.process.expect_running()?;
            let mut health = Command::new(&self.binary);
            health.arg("healthcheck").arg("-socketPath").arg(&socket);
            Ok(crate::shell::output(&mut health).ok())
        })
        .map(drop)
    }
}

fn run(binary: &Path, netns: &Netns, directory: &Path, configuration: &str) -> Result<Process> {
    let mut command = Command::new(binary);
    Process::start("spire-agent", netns, command.args(["run", "-config"]).arg(directory.join(configuration)))
}

fn configuration(directory: &str, token: &str, delegates: &str) -> String {
    format!(
        r#"agent {{
  server_address = "127.0.0.1"
  server_port = "{PORT}"
  trust_domain = "{TRUST_DOMAIN}"
  data_dir = "{directory}"
  socket_path = "{directory}/public/api.sock"
  admin_socket_path = "{directory}/admin.sock"
  authorized_delegates = [{delegates}]
  trust_bundle_path = "{directory}/bundle.pem"
  join_token = "{token}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{directory}" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}
