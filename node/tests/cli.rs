//! The binary from outside: arguments, exit codes, what it says when it does not start.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn ringway(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(arguments).env_clear().env("PATH", path).envs(environment.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn version_and_help() {
    let version = ringway(&["version"], &[]);
    assert_eq!(
        (version.status.code(), out(&version)),
        (Some(0), format!("ringway {}\n", env!("CARGO_PKG_VERSION")))
    );
    for arguments in [&["help"][..], &["--help"]] {
        let help = ringway(arguments, &[]);
        assert_eq!(help.status.code(), Some(0));
        for word in ["proxy", "check", "redirect", "version"] {
            assert!(out(&help).contains(word), "{word}");
        }
    }
}

#[test]
fn an_unknown_command_ends_with_1() {
    for arguments in [&["serve"][..], &["--bogus"], &["redirect"]] {
        let output = ringway(arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!err(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_start_without_settings_names_all_that_is_missing() {
    for arguments in [&[][..], &["proxy"], &["proxy", "ztunnel"]] {
        let output = ringway(arguments, &[]);
        assert_eq!(output.status.code(), Some(1));
        for name in ["LOCAL_XDS_PATH", "RINGWAY_CA_DIR", "RINGWAY_PODS_PATH"] {
            assert!(err(&output).contains(name), "{}", err(&output));
        }
    }
}

/// What the start says of a directory with these files; `ca` is a directory in it, if it is there.
fn refused(directory: &Path) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let variables = [
        ("LOCAL_XDS_PATH", path("mesh.yaml")),
        ("RINGWAY_PODS_PATH", path("pods.yaml")),
        ("RINGWAY_CA_DIR", path("ca")),
        ("READINESS_BIND_ADDRESS", "127.0.0.1:0".to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let output = ringway(&["proxy"], &variables);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    err(&output)
}

#[test]
fn everything_that_is_wrong_with_the_files_is_told_at_once_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused(directory.path());
    for part in
        ["/mesh.yaml: there is no such file", "/pods.yaml: there is no such file", "the CA directory "]
    {
        assert!(said.lines().any(|line| line.starts_with("  ") && line.contains(part)), "{part}: {said}");
    }

    std::fs::create_dir(directory.path().join("ca")).unwrap();
    std::fs::write(directory.path().join("mesh.yaml"), "workloads: [{nonsense: true}]\n").unwrap();
    std::fs::write(directory.path().join("pods.yaml"), "pods: []\n").unwrap();
    let said = refused(directory.path());
    assert!(said.contains("nonsense") && !said.contains("pods.yaml") && !said.contains("the CA"), "{said}");
    let made: Vec<_> = std::fs::read_dir(directory.path().join("ca")).unwrap().collect();
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn half_a_root_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("ca")).unwrap();
    std::fs::write(directory.path().join("ca/root-key.pem"), "").unwrap();
    let said = refused(directory.path());
    assert!(said.contains("root-key.pem is there but") && said.contains("mesh.yaml"), "{said}");
    let left: Vec<_> = std::fs::read_dir(directory.path().join("ca")).unwrap().map(Result::unwrap).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// Root can read any file and set any capability.
#[test]
fn a_start_without_the_capabilities_it_needs_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: giving capabilities up needs some");
        return;
    }
    let check = |capabilities: &str, environment: &[(&str, &str)]| {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", &format!("--bounding-set=-all{capabilities}")]);
        command.args([env!("CARGO_BIN_EXE_ringway"), "check"]).envs(environment.iter().copied());
        out(&command.output().unwrap())
    };
    let failed = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("FAIL  CAP_"));
        lines.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let dedicated = [("PROXY_MODE", "dedicated")];
    for (capabilities, environment, missing) in [
        (",+sys_admin,+net_admin", &[][..], &[][..]),
        (",+net_admin,+net_raw", &[], &["SYS_ADMIN"]),
        (",+sys_admin", &[], &["NET_ADMIN"]),
        ("", &[], &["NET_ADMIN", "SYS_ADMIN"]),
        ("", &dedicated, &[]),
        ("", &[dedicated[0], ("PACKET_MARK", "1337")], &["NET_ADMIN"]),
    ] {
        let text = check(capabilities, environment);
        assert_eq!(failed(&text), missing, "{capabilities} {environment:?}: {text}");
    }
}

#[test]
fn check_has_a_line_for_each_requirement() {
    let output = ringway(&["check"], &[]);
    let fatal = out(&output).lines().any(|line| line.starts_with("FAIL"));
    assert_eq!(output.status.code(), Some(i32::from(fatal)));
    for line in out(&output).lines() {
        assert!(["ok ", "warn", "FAIL"].iter().any(|start| line.starts_with(start)), "{line}");
    }
}

/// A namespace that is gone when dropped.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: making network namespaces needs root");
            return None;
        }
        let name = format!("rw-cli-{}-{name}", std::process::id());
        assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
        let namespace = Self(name);
        let up = ["netns", "exec", &namespace.0, "ip", "link", "set", "lo", "up"];
        assert!(Command::new("ip").args(up).status().unwrap().success());
        Some(namespace)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

#[test]
fn redirection_of_one_namespace() {
    let Some(namespace) = Namespace::new("one") else { return };
    let netns = namespace.path().display().to_string();
    let redirect = |action: &str| ringway(&["redirect", action, "--netns", &netns], &[]);
    let shown = || out(&redirect("show"));

    assert!(shown().contains("IPv4: not redirected\n"), "{}", shown());
    assert_eq!(redirect("add").status.code(), Some(0));
    assert!(shown().contains("IPv4: redirected\n") && shown().contains("IPv6: redirected\n"), "{}", shown());
    assert!(shown().contains(
        "  present   iptables -t nat -A CILIUM_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT"
    ));
    assert_eq!(redirect("remove").status.code(), Some(0));
    assert!(shown().contains("IPv4: not redirected\n") && !shown().contains("present"), "{}", shown());
}

#[test]
fn redirection_of_all_pods_goes_on_past_one_that_fails() {
    let Some(namespace) = Namespace::new("all") else { return };
    let directory = tempfile::tempdir().unwrap();
    let pods = directory.path().join("pods.yaml");
    let text = format!(
        "pods:\n\
         - {{uid: a, name: gone, namespace: shop, serviceAccount: x, netns: /run/netns/rw-not-there}}\n\
         - {{uid: b, name: cart, namespace: shop, serviceAccount: x, netns: {}}}\n",
        namespace.path().display()
    );
    std::fs::write(&pods, text).unwrap();
    let pods = pods.display().to_string();

    let added =
        ringway(&["redirect", "add", "--all"], &[("RINGWAY_PODS_PATH", &pods), ("IPV6_ENABLED", "false")]);
    assert_eq!(added.status.code(), Some(1));
    assert!(err(&added).contains("shop/gone: "), "{}", err(&added));
    assert_eq!(out(&added), "shop/cart: redirected\n");
    let shown = out(&ringway(&["redirect", "show", "--all", "--pods", &pods], &[]));
    assert!(
        shown.contains("shop/cart: IPv4: redirected\n")
            && shown.contains("shop/cart: IPv6: not redirected\n")
    );

    let removed = ringway(&["redirect", "remove", "--all", "--pods", &pods], &[]);
    assert_eq!(out(&removed), "shop/cart: not redirected any more\n");
    let without = ringway(&["redirect", "remove", "--all"], &[]);
    assert!(err(&without).contains("RINGWAY_PODS_PATH"), "{}", err(&without));
}

/// The proxy as a child, ended when dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that no other process takes: a part of loopback for each.
fn own_address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, a, b, c), 15_021).into()
}

fn probe(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /healthz/ready HTTP/1.0\r\nhost: probe\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_proxy_starts_serves_a_pod_and_ends_when_told() {
    let Some(namespace) = Namespace::new("start") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let netns = namespace.path();
    let pods = format!(
        "pods: [{{uid: a, name: cart, namespace: shop, serviceAccount: x, netns: {}}}]\n",
        netns.display()
    );
    std::fs::create_dir(directory.path().join("ca")).unwrap();
    let readiness = own_address();
    let child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["proxy", "ztunnel"])
        .env("LOCAL_XDS_PATH", file("mesh.yaml", "workloads: []\n"))
        .env("RINGWAY_PODS_PATH", file("pods.yaml", &pods))
        .env("RINGWAY_CA_DIR", directory.path().join("ca"))
        .env("READINESS_BIND_ADDRESS", readiness.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut proxy = Proxy(child);
    let mut lines = BufReader::new(proxy.0.stdout.take().unwrap()).lines().map(Result::unwrap);

    assert!(lines.any(|line| line.contains("pod added\tuid=\"a\" pod=shop/cart")), "it ended before");
    while !probe(readiness).ends_with("\r\n\r\nready\n") {}
    let listening = Command::new("ip").args(["netns", "exec", &namespace.0, "ss", "-Hltn"]).output().unwrap();
    for port in [":15001 ", ":15006 ", ":15008 "] {
        assert!(out(&listening).contains(port), "{port}: {}", out(&listening));
    }

    kill(Pid::from_raw(i32::try_from(proxy.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(proxy.0.wait().unwrap().code(), Some(0));
    assert!(lines.last().unwrap().ends_with("\tinfo\tproxy\tended"));
}
