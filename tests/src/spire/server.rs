//! SPIRE's server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    DELEGATE, NODE, Selector, SpireAgent, SpireOptions, TRUST_DOMAIN, UPSTREAM_CERTIFICATE, UPSTREAM_KEY,
    UPSTREAM_ROOT, binaries,
};
use crate::netns::Netns;
use crate::process::{Process, wait_until};
use crate::run::Run;
use crate::shell;

/// How long a server or an agent may take to answer after its start.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Where it listens, in a namespace of its own.
pub(super) const PORT: u16 = 8081;

/// A running server.
#[derive(Debug)]
pub struct SpireServer {
    // Before the namespace it runs in.
    process: Process,
    pub(super) netns: Arc<Netns>,
    directory: PathBuf,
    binary: PathBuf,
    agent_binary: PathBuf,
}

impl SpireServer {
    /// With the entry of the proxies made.
    pub fn start(options: &SpireOptions) -> Result<Self> {
        let server = Self::of_trust_domain(TRUST_DOMAIN, options)?;
        server.create_entry("proxy", NODE, DELEGATE, Selector::User(0), &[])?;
        Ok(server)
    }

    /// The server of another trust domain, which has no proxies.
    pub fn of_trust_domain(trust_domain: &str, options: &SpireOptions) -> Result<Self> {
        let [binary, agent_binary] = binaries()?;
        let directory = Run::current()?.unique_directory("spire")?;
        let netns = Arc::new(Netns::new("spire")?);
        let configuration = configuration(trust_domain, &directory.display().to_string(), options);
        fs::write(directory.join("server.conf"), configuration)?;
        let mut command = Command::new(&binary);
        command.args(["run", "-config"]).arg(directory.join("server.conf"));
        let process = Process::start("spire-server", &netns, &mut command)?;
        let mut server = Self { process, netns, directory, binary, agent_binary };
        server.wait_healthy()?;
        Ok(server)
    }

    /// A new agent with a join token of this server, which lets proxies act for pods.
    pub fn start_agent(&self, name: &str) -> Result<SpireAgent> {
        let token = self.run(&["token", "generate", "-spiffeID", NODE, "-output", "json"])?;
        let token: Value = serde_json::from_str(&token).context("the join token")?;
        let token = token["value"].as_str().context("no join token")?;
        let bundle = self.roots()?;
        SpireAgent::start(name, &self.agent_binary, &self.netns, token, &bundle)
    }

    /// The entry of a workload, under a name by which it can be deleted.
    pub fn register(&self, entry: &str, identity: &str, selector: Selector<'_>) -> Result<()> {
        self.register_federated(entry, identity, selector, &[])
    }

    /// The same for one that is to know the roots of other trust domains, which [`Self::trust`] named before.
    pub fn register_federated(
        &self,
        entry: &str,
        identity: &str,
        selector: Selector<'_>,
        trust_domains: &[&str],
    ) -> Result<()> {
        self.create_entry(entry, DELEGATE, identity, selector, trust_domains)
    }

    /// Takes these roots, in PEM, for those of another trust domain.
    pub fn trust(&self, trust_domain: &str, roots: &str) -> Result<()> {
        let file = self.directory.join(format!("{trust_domain}.pem"));
        fs::write(&file, roots)?;
        let id = format!("spiffe://{trust_domain}");
        self.run(&["bundle", "set", "-id", &id, "-path", &file.display().to_string()]).map(drop)
    }

    /// Its own roots in PEM.
    pub fn roots(&self) -> Result<String> {
        self.run(&["bundle", "show"])
    }

    /// An SVID without a workload: its chain and its key in PEM.
    pub fn mint(&self, identity: &str) -> Result<[String; 2]> {
        let directory = Run::current()?.unique_directory("minted")?;
        self.run(&["x509", "mint", "-spiffeID", identity, "-write", &directory.display().to_string()])?;
        let read = |name: &str| fs::read_to_string(directory.join(name));
        Ok([read("svid.pem")?, read("key.pem")?])
    }

    /// Deletes an entry; `proxy` is that of the proxies.
    pub fn delete_entry(&self, entry: &str) -> Result<()> {
        self.run(&["entry", "delete", "-entryID", entry]).map(drop)
    }

    /// The entry of the proxies, after it was deleted.
    pub fn register_proxy(&self) -> Result<()> {
        self.create_entry("proxy", NODE, DELEGATE, Selector::User(0), &[])
    }

    /// Makes a new authority and lets it sign from now on. The old one is trusted for as long as it lasts.
    pub fn rotate_authority(&self) -> Result<()> {
        let prepared = self.authority_command(&["prepare"])?;
        let id =
            prepared["prepared_authority"]["authority_id"].as_str().context("no authority was prepared")?;
        self.authority_command(&["activate", "-authorityID", id]).map(drop)
    }

    /// Has everything signed anew that the old authority signed, and takes it out of the roots.
    pub fn taint_old_authority(&self) -> Result<String> {
        let shown = self.authority_command(&["show"])?;
        let id = shown["old"]["authority_id"].as_str().context("there is no old authority")?.to_owned();
        self.authority_command(&["taint", "-authorityID", &id])?;
        Ok(id)
    }

    /// Takes a tainted authority out of the roots.
    pub fn revoke_authority(&self, id: &str) -> Result<()> {
        self.authority_command(&["revoke", "-authorityID", id]).map(drop)
    }

    fn authority_command(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.run(&[&["localauthority", "x509"], arguments, &["-output", "json"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("localauthority: {said}"))
    }

    fn create_entry(
        &self,
        entry: &str,
        parent: &str,
        identity: &str,
        selector: Selector<'_>,
        federated: &[&str],
    ) -> Result<()> {
        let selectors = selector.arguments();
        let mut arguments =
            vec!["entry", "create", "-entryID", entry, "-parentID", parent, "-spiffeID", identity];
        arguments.extend(selectors.iter().map(String::as_str));
        arguments.extend(federated.iter().flat_map(|trust_domain| ["-federatesWith", trust_domain]));
        self.run(&arguments).map(drop)
    }

    /// A command of its command line, whose words end where the first option begins.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let words = arguments.iter().take_while(|argument| !argument.starts_with('-')).count();
        let mut command = Command::new(&self.binary);
        command.args(&arguments[..words]).arg("-socketPath").arg(self.directory.join("server.sock"));
        shell::output(command.args(&arguments[words..]))
    }

    fn wait_healthy(&mut self) -> Result<()> {
        wait_until("SPIRE's server", START_TIMEOUT, || {
            self.process.expect_running()?;
            Ok(self.run(&["healthcheck"]).ok())
        })
        .map(drop)
    }
}

fn configuration(trust_domain: &str, directory: &str, options: &SpireOptions) -> String {
    let SpireOptions { svid_ttl, authority_ttl, upstream } = options;
    let upstream = upstream.as_deref().map(upstream_authority).unwrap_or_default();
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{PORT}"
  socket_path = "{directory}/server.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{directory}"
  ca_ttl = "{}s"
  default_x509_svid_ttl = "{}s"
  agent_ttl = "12h"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{directory}/datastore" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{directory}/keys.json" }} }}
{upstream}}}
"#,
        authority_ttl.as_secs(),
        svid_ttl.as_secs(),
    )
}

fn upstream_authority(directory: &Path) -> String {
    let file = |name: &str| directory.join(name).display().to_string();
    format!(
        r#"  UpstreamAuthority "disk" {{
    plugin_data {{ cert_file_path = "{}" key_file_path = "{}" bundle_file_path = "{}" }}
  }}
"#,
        file(UPSTREAM_CERTIFICATE),
        file(UPSTREAM_KEY),
        file(UPSTREAM_ROOT),
    )
}
