//! Two places of the user's, by the words that take a command there: `kubectl exec -i POD --`, `ssh HOST`,
//! `ip netns exec NAME`. Both have this program in their path, and what else the workloads run.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{Place, Pod, Site};

/// What goes to a place and back, to see whether its prefix passes it on.
const PROBE: &str = "ringway-perf was here";

#[derive(Args, Clone, Debug)]
#[group(requires_all = ["client_exec", "server_exec", "server_address"], conflicts_with_all = ["same_node", "pairs", "underlay", "mtu", "rate"])]
pub(crate) struct Endpoints {
    /// The words before every command of the client's side, as "kubectl exec -i client --": measures between two places of
    /// yours, whatever stands there.
    #[arg(long, value_name = "PREFIX", required = false)]
    client_exec: String,
    /// The same for the server's side.
    #[arg(long, value_name = "PREFIX", required = false)]
    server_exec: String,
    /// Where the client's side reaches the server's.
    #[arg(long, value_name = "IP", required = false)]
    server_address: Ipv4Addr,
    /// What the report calls that which stands between them.
    #[arg(long, default_value = "endpoints")]
    pub(crate) name: String,
}

impl Endpoints {
    pub(crate) fn client(&self) -> Place {
        place(&self.client_exec)
    }

    pub(crate) fn server(&self) -> Place {
        place(&self.server_exec)
    }

    /// Two pods that are there already, once it is clear that commands reach them.
    pub(super) fn site(&self) -> Result<Site> {
        for place in [self.client(), self.server()] {
            probe(&place).with_context(|| format!("trying {:?}", place.name()))?;
        }
        let pod = |name: &str, place: Place, ip: Ipv4Addr| {
            let (name, node) = (name.to_owned(), String::new());
            Pod { name, ip, extra_ips: Vec::new(), node, place }
        };
        let client = pod("client0", self.client(), Ipv4Addr::UNSPECIFIED);
        let server = pod("server0", self.server(), self.server_address);
        Ok(Site::of_endpoints(client, server))
    }

    /// In words, for the report.
    pub(super) fn describe(&self) -> String {
        let Self { client_exec, server_exec, server_address, .. } = self;
        format!("from `{client_exec}` to `{server_exec}` at {server_address}")
    }
}

fn place(prefix: &str) -> Place {
    Place::Exec(prefix.split_whitespace().map(str::to_owned).collect())
}

/// An error unless a command that runs there reads what we write, and this program is there.
fn probe(place: &Place) -> Result<()> {
    let mut command = place.command("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut cat = place.spawn(&mut command)?;
    // A place that ended at once says why below.
    let _ = cat.stdin.take().map(|mut pipe| pipe.write_all(PROBE.as_bytes()));
    let output = cat.wait_with_output()?;
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, complained.trim());
    let came_back = output.stdout == PROBE.as_bytes();
    ensure!(came_back, "standard input does not reach a command there: kubectl exec needs -i, and no -t");
    let own = place.output(place.command(&place.own_program()?).arg("peer"));
    own.map(drop).context("ringway-perf has to be in the path there")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoints(client_exec: &str) -> Endpoints {
        Endpoints {
            client_exec: client_exec.to_owned(),
            server_exec: "env".to_owned(),
            server_address: Ipv4Addr::new(10, 1, 0, 7),
            name: "endpoints".to_owned(),
        }
    }

    #[test]
    fn a_place_that_no_command_reaches_is_told() {
        for (prefix, word) in [
            ("/nonexistent/kubectl exec client --", "/nonexistent/kubectl"),
            ("false", "exit status: 1"),
            ("env --unset=A sh -c true", "needs -i"),
            ("env PATH=/usr/bin:/bin", "in the path"),
        ] {
            let error = format!("{:#}", endpoints(prefix).site().unwrap_err());
            assert!(error.contains(word) && error.contains(prefix), "{prefix}: {error}");
        }
    }

    #[test]
    fn the_report_says_between_which() {
        assert_eq!(endpoints("env A=1").describe(), "from `env A=1` to `env` at 10.1.0.7");
    }
}
