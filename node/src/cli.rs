//! The command line. `ringway` alone is `ringway proxy`, and whatever follows `proxy` is ignored: charts that were
//! written for ztunnel pass `proxy ztunnel`.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Mutual TLS for pods, without touching the applications.
#[derive(Debug, Parser)]
#[command(
    name = "ringway",
    version,
    after_help = "Settings come from the environment; a start without them names those it needs."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node proxy (the default)
    Proxy {
        /// Ignored
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        ignored: Vec<String>,
    },
    /// Say whether this machine has what the proxy needs, one line per requirement
    Check,
    /// Install, remove or show the rules that bring a pod's connections to the proxy
    Redirect {
        #[command(subcommand)]
        action: Redirect,
    },
    /// Say how a running proxy is: pods, certificates, control planes, what is wrong and what to do
    Status {
        #[command(flatten)]
        asked: Asked,
    },
    /// Say what would become of a connection, and why
    Explain {
        /// namespace/pod, the name of a pod that no other has, or an IP address
        source: String,
        /// The same, or namespace/service or a hostname as the source would use it; with :PORT, or 80 is taken (of a
        /// service that has no port 80, its lowest)
        destination: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the last connections, one a line
    Flows {
        /// Go on with those that come
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the version
    Version,
}

/// Which proxy is asked, and how its answer is printed.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// The proxy's admin address
    #[arg(long, value_name = "HOST:PORT", env = "RINGWAY_ADMIN", default_value = "127.0.0.1:15000", value_parser = admin_address)]
    pub(crate) admin: String,
    /// Print the answer as it comes, for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Redirect {
    /// Install what is missing
    Add {
        #[command(flatten)]
        target: Target,
        /// Leave IPv6 connections alone (also with IPV6_ENABLED=false)
        #[arg(long)]
        no_ipv6: bool,
    },
    /// Remove everything, of both families
    Remove(Target),
    /// Say what is there and what is missing
    Show(Target),
}

/// Whose network namespaces.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// A network namespace: /proc/<pid>/ns/net or /run/netns/<name>
    #[arg(long, value_name = "PATH", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) netns: Option<PathBuf>,
    /// Those of every pod of the pods file
    #[arg(long)]
    pub(crate) all: bool,
    /// The pods file [default: RINGWAY_PODS_PATH]
    #[arg(long, value_name = "FILE", conflicts_with = "netns")]
    pub(crate) pods: Option<PathBuf>,
}

/// HOST:PORT, so that what cannot be one is not taken for a proxy that does not answer.
fn admin_address(text: &str) -> Result<String, String> {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/']),
    };
    match text.rsplit_once(':') {
        Some((name, number)) if host(name) && port(number) => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, such as 127.0.0.1:15000 or [::1]:15000".to_owned()),
    }
}

impl Default for Command {
    fn default() -> Self {
        Self::Proxy { ignored: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        let all = ["ringway"].iter().chain(arguments);
        Cli::try_parse_from(all).map(|cli| cli.command.unwrap_or_default())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn whatever_charts_pass_is_the_proxy() {
        for arguments in
            [&[][..], &["proxy"], &["proxy", "ztunnel"], &["proxy", "ztunnel", "--verbose", "-x", "check"]]
        {
            assert!(matches!(parse(arguments), Ok(Command::Proxy { .. })), "{arguments:?}");
        }
    }

    #[test]
    fn other_commands() {
        assert!(matches!(parse(&["check"]), Ok(Command::Check)));
        assert!(matches!(parse(&["version"]), Ok(Command::Version)));
        let added = parse(&["redirect", "add", "--netns", "/run/netns/a", "--no-ipv6"]).unwrap();
        assert!(matches!(added, Command::Redirect { action: Redirect::Add { no_ipv6: true, .. } }));
        let removed = parse(&["redirect", "remove", "--all", "--pods", "pods.yaml"]).unwrap();
        assert!(matches!(removed, Command::Redirect { action: Redirect::Remove(Target { all: true, .. }) }));
    }

    #[test]
    fn questions_to_a_running_proxy() {
        let status = parse(&["status", "--json", "--admin", "[::1]:15000"]).unwrap();
        assert!(matches!(status, Command::Status { asked: Asked { json: true, .. } }));
        let explain = parse(&["explain", "shop/cart", "10.0.0.1:80"]).unwrap();
        assert!(matches!(explain, Command::Explain { asked: Asked { json: false, .. }, .. }));
        assert!(matches!(parse(&["flows", "--follow"]), Ok(Command::Flows { follow: true, .. })));
    }

    #[test]
    fn an_admin_address_is_a_host_and_a_port() {
        for address in ["127.0.0.1:15000", "[::1]:15000", "localhost:1", "proxy.example:65535"] {
            assert!(parse(&["status", "--admin", address]).is_ok(), "{address}");
        }
        for address in [
            "nonsense",
            "",
            ":15000",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            "::1:15000",
            "[::1]",
            "[a]:1",
            "http://a:1",
        ] {
            let error = parse(&["status", "--admin", address]).unwrap_err().to_string();
            assert!(error.contains("write HOST:PORT, such as 127.0.0.1:15000"), "{address}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            &["serve"][..],
            &["redirect"],
            &["redirect", "add"],
            &["redirect", "show", "--netns", "/x", "--all"],
            &["redirect", "show", "--netns", "/x", "--pods", "y"],
            &["explain", "shop/cart"],
            &["status", "--admin"],
            &["--bogus"],
        ] {
            assert!(parse(arguments).unwrap_err().use_stderr(), "{arguments:?}");
        }
        for arguments in [&["help"][..], &["--help"], &["redirect", "--help"], &["--version"]] {
            assert!(!parse(arguments).unwrap_err().use_stderr(), "{arguments:?}");
        }
    }
}
