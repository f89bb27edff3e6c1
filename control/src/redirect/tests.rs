//! In throwaway namespaces, as root: what the tools print afterwards is compared with the contract.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A namespace with its loopback up, gone when dropped.
struct Namespace(String);

impl Namespace {
    /// `None` without root: there is nothing to test then.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: making network namespaces needs root");
            return None;
        }
        let name = format!("rw-redirect-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}"));
        let namespace = Self(name);
        namespace.sh("ip link set lo up");
        Some(namespace)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/var/run/netns").join(&self.0)
    }

    fn sh(&self, script: &str) -> String {
        sh(&format!("ip netns exec {} sh -c '{script}'", self.0))
    }

    /// Rules and chains of ours, without counters and what the tools say about themselves.
    fn saved(&self, tool: &str) -> Vec<String> {
        let text = self.sh(&format!("{tool}-save"));
        let ours =
            |line: &&str| line.starts_with("-A") || line.starts_with(":CILIUM") || line.starts_with('*');
        text.lines().filter(ours).map(|line| line.split(" [").next().unwrap().to_owned()).collect()
    }

    /// Everything that redirection could leave behind.
    fn traces(&self) -> Vec<String> {
        let mut traces: Vec<String> =
            ["iptables", "ip6tables"].iter().flat_map(|tool| self.saved(tool)).collect();
        traces.retain(|line| !line.starts_with('*'));
        for family in ["-4", "-6"] {
            traces
                .extend(self.sh(&format!("ip {family} rule show priority 32764")).lines().map(str::to_owned));
            traces.extend(
                self.sh(&format!("ip {family} route show table 100 2>&1 || true"))
                    .lines()
                    .filter(|line| line.starts_with("local"))
                    .map(str::to_owned),
            );
        }
        traces
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The contract's table, for the loopback address of a family.
fn contract(loopback: &str) -> Vec<String> {
    [
        "*mangle",
        ":CILIUM_OUTPUT -",
        ":CILIUM_PREROUTING -",
        "-A PREROUTING -j CILIUM_PREROUTING",
        "-A OUTPUT -j CILIUM_OUTPUT",
        "-A CILIUM_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        "-A CILIUM_PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
        "*nat",
        ":CILIUM_OUTPUT -",
        ":CILIUM_PREROUTING -",
        "-A PREROUTING -j CILIUM_PREROUTING",
        "-A OUTPUT -j CILIUM_OUTPUT",
        "-A CILIUM_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
        "-A CILIUM_OUTPUT ! -d LOOPBACK -o lo -j ACCEPT",
        "-A CILIUM_OUTPUT ! -d LOOPBACK -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001",
        "-A CILIUM_PREROUTING ! -d LOOPBACK -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006",
    ]
    .map(|line| line.replace("LOOPBACK", loopback))
    .into()
}

fn assert_is_contract(namespace: &Namespace) {
    // Chains may be declared in any order; the rules of a chain may not.
    let sorted = |mut lines: Vec<String>| {
        lines.sort_by_key(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        lines
    };
    for (tool, loopback) in [("iptables", "127.0.0.1/32"), ("ip6tables", "::1/128")] {
        assert_eq!(sorted(namespace.saved(tool)), sorted(contract(loopback)), "{tool}");
    }
    for family in ["-4", "-6"] {
        let rules = namespace.sh(&format!("ip {family} rule show priority 32764"));
        assert_eq!(rules.trim(), "32764:\tfrom all fwmark 0x111/0xfff lookup 100");
    }
    assert_eq!(namespace.sh("ip -4 route show table 100").trim(), "local default dev lo scope host");
    let v6 = namespace.sh("ip -6 route show table 100");
    assert!(v6.trim().starts_with("local default dev lo metric 1024"), "{v6}");
    assert_eq!(v6.lines().count(), 1);
}

#[test]
fn adds_what_the_contract_says_and_removes_all_of_it() {
    let Some(namespace) = Namespace::new() else { return };
    assert_eq!(add(&namespace.path(), true).unwrap(), None);
    assert_is_contract(&namespace);
    assert_eq!(add(&namespace.path(), true).unwrap(), None);
    assert_is_contract(&namespace);
    assert!(show(&namespace.path()).unwrap().iter().all(is_complete));

    remove(&namespace.path()).unwrap();
    assert_eq!(namespace.traces(), Vec::<String>::new());
    remove(&namespace.path()).unwrap();
    assert!(show(&namespace.path()).unwrap().iter().all(is_absent));
}

fn is_complete(report: &FamilyReport) -> bool {
    report.items.as_ref().unwrap().iter().all(|item| item.standing == Standing::Present)
}

fn is_absent(report: &FamilyReport) -> bool {
    report.items.as_ref().unwrap().iter().all(|item| item.standing == Standing::Missing)
}

/// Each of these is what an interrupted start, or somebody's hand, can leave.
const DISTURBANCES: [&str; 6] = [
    "iptables -t nat -D OUTPUT -j CILIUM_OUTPUT",
    "iptables -t nat -D CILIUM_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
    "iptables -t nat -D CILIUM_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT && \
     iptables -t nat -A CILIUM_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
    "ip6tables -t mangle -F && ip6tables -t mangle -X",
    "ip -4 rule del priority 32764; ip -6 route del local default dev lo table 100",
    "iptables -t nat -F CILIUM_PREROUTING; ip6tables -t nat -F CILIUM_OUTPUT",
];

#[test]
fn adding_mends_what_was_disturbed() {
    let Some(namespace) = Namespace::new() else { return };
    for disturbance in DISTURBANCES {
        add(&namespace.path(), true).unwrap();
        namespace.sh(disturbance);
        assert!(!show(&namespace.path()).unwrap().iter().all(is_complete), "{disturbance}: not seen");
        add(&namespace.path(), true).unwrap();
        assert_is_contract(&namespace);
    }
}

#[test]
fn removing_takes_out_what_is_left_of_a_part() {
    let Some(namespace) = Namespace::new() else { return };
    for disturbance in DISTURBANCES {
        add(&namespace.path(), true).unwrap();
        namespace.sh(disturbance);
        remove(&namespace.path()).unwrap();
        assert_eq!(namespace.traces(), Vec::<String>::new(), "{disturbance}");
    }
}

#[test]
fn doubled_jumps_are_all_removed() {
    let Some(namespace) = Namespace::new() else { return };
    add(&namespace.path(), true).unwrap();
    namespace.sh("iptables -t nat -A OUTPUT -j CILIUM_OUTPUT; iptables -t nat -A OUTPUT -j CILIUM_OUTPUT");
    remove(&namespace.path()).unwrap();
    assert_eq!(namespace.traces(), Vec::<String>::new());
}

#[test]
fn what_others_made_is_left_alone() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.sh("iptables -t nat -A OUTPUT -p udp --dport 53 -j ACCEPT; ip rule add priority 32764 fwmark 0x7 table 7");
    let before = namespace.traces();
    add(&namespace.path(), true).unwrap();
    remove(&namespace.path()).unwrap();
    assert_eq!(namespace.traces(), before);
}

#[test]
fn a_pod_without_ipv6_is_redirected_in_ipv4() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    assert_eq!(add(&namespace.path(), true).unwrap(), None);
    assert_eq!(namespace.saved("iptables").len(), contract("").len());
    assert!(namespace.saved("ip6tables").iter().all(|line| line.starts_with('*')));
    remove(&namespace.path()).unwrap();
    assert_eq!(namespace.traces(), Vec::<String>::new());
}

#[test]
fn ipv6_is_left_out_where_it_is_not_wanted() {
    let Some(namespace) = Namespace::new() else { return };
    add(&namespace.path(), false).unwrap();
    assert_eq!(namespace.saved("iptables").len(), contract("").len());
    assert!(namespace.saved("ip6tables").iter().all(|line| line.starts_with('*')));
}

#[test]
fn only_the_namespace_is_touched() {
    let Some(namespace) = Namespace::new() else { return };
    let rules = || sh("ip rule; ip -6 rule; iptables -S; iptables -t nat -S; iptables -t mangle -S");
    let before = rules();
    add(&namespace.path(), true).unwrap();
    assert_eq!(rules(), before);
}

#[test]
fn a_path_that_is_no_namespace_changes_nothing() {
    for path in ["/var/run/netns/rw-no-such-namespace", "/etc/hostname"] {
        assert!(matches!(add(Path::new(path), true), Err(RedirectError::Netns(_))), "{path}");
        assert!(matches!(remove(Path::new(path)), Err(RedirectError::Netns(_))), "{path}");
        assert!(matches!(show(Path::new(path)), Err(RedirectError::Netns(_))), "{path}");
    }
}
