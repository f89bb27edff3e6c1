//! The rules, as `iptables-save` prints them: word for word those that Cilium's agent installs, in its chains, so that
//! either finds the other's and removes them whole.
//!
//! Every packet of ours carries 0x539. What comes back for a connection that carries the client's address is marked
//! 0x111 through its conntrack entry and routed to us by table 100.

use super::Family;

/// The policy rule and the route of table 100.
pub(super) const RULE_PRIORITY: &str = "32764";
pub(super) const RULE_MARK: &str = "0x111/0xfff";
pub(super) const ROUTE_TABLE: &str = "100";

/// One of our chains, and where it is jumped to from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) table: &'static str,
    /// The chain of the kernel.
    pub(super) hook: &'static str,
    pub(super) name: &'static str,
    /// In this order: the first that matches decides.
    pub(super) rules: Vec<String>,
}

impl Chain {
    /// The rule of the kernel's chain that leads here.
    pub(super) fn jump(&self) -> String {
        format!("-j {}", self.name)
    }
}

/// All chains of a family: first what sets and restores marks, then what redirects.
pub(super) fn chains(family: Family) -> [Chain; 4] {
    let loopback = match family {
        Family::V4 => "127.0.0.1/32",
        Family::V6 => "::1/128",
    };
    let chain = |table, hook, name, rules| Chain { table, hook, name, rules };
    [
        chain(
            "mangle",
            "PREROUTING",
            "CILIUM_PREROUTING",
            vec!["-m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff".to_owned()],
        ),
        chain(
            "mangle",
            "OUTPUT",
            "CILIUM_OUTPUT",
            vec![
                "-m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"
                    .to_owned(),
            ],
        ),
        chain(
            "nat",
            "PREROUTING",
            "CILIUM_PREROUTING",
            vec![format!(
                "! -d {loopback} -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006"
            )],
        ),
        chain(
            "nat",
            "OUTPUT",
            "CILIUM_OUTPUT",
            vec![
                "-p tcp -m mark --mark 0x111/0xfff -j ACCEPT".to_owned(),
                format!("! -d {loopback} -o lo -j ACCEPT"),
                format!("! -d {loopback} -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001"),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use engine::mesh::{HBONE_PORT, OUTBOUND_PORT, PLAIN_INBOUND_PORT};

    use super::*;
    use crate::environment::PACKET_MARK_DEFAULT;

    /// The rules are written out, so that they can be compared by eye; the numbers in them are those of the engine.
    #[test]
    fn ports_and_mark_are_the_engine_s() {
        let text: String = chains(Family::V4).iter().flat_map(|chain| chain.rules.clone()).collect();
        for part in [
            format!("! --dport {HBONE_PORT}"),
            format!("--to-ports {OUTBOUND_PORT}"),
            format!("--to-ports {PLAIN_INBOUND_PORT}"),
            format!("--mark {PACKET_MARK_DEFAULT:#x}/0xfff"),
        ] {
            assert!(text.contains(&part), "{part}");
        }
    }

    #[test]
    fn the_families_differ_by_the_loopback_address_only() {
        let swapped = |chain: Chain| Chain {
            rules: chain.rules.iter().map(|rule| rule.replace("127.0.0.1/32", "::1/128")).collect(),
            ..chain
        };
        assert_eq!(chains(Family::V4).map(swapped), chains(Family::V6));
    }
}
