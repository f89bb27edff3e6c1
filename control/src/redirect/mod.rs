//! Redirection of a pod's connections to the proxy: rules inside the pod's network namespace.
//!
//! Under Cilium or Istio an agent installs them; `ringway redirect` is for those who have none. All of it can be
//! repeated: adding completes what is missing, removing takes out whatever is there, also of a start that was
//! interrupted, and leaves nothing. No packet is redirected before the last rule it needs is there.

mod firewall;
mod routes;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::Path;

use thiserror::Error;

use crate::netns::{self, NetnsError};

use firewall::Firewall;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

#[derive(Debug, Error)]
pub enum RedirectError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(
        "{tool} is not usable here: {cause}; install iptables and iproute2, and see that the kernel has nf_tables or \
         the ip(6)table_nat and _mangle modules"
    )]
    Unusable { tool: &'static str, cause: String },
    #[error("IPv6 is switched off in this namespace")]
    NoIpv6,
    #[error(
        "{tool}: {doing}: {cause}; CAP_NET_ADMIN is needed, and the modules xt_REDIRECT, xt_mark, xt_connmark"
    )]
    Tool { tool: &'static str, doing: String, cause: String },
    #[error("still there after the removal: {}", .0.join("; "))]
    Left(Vec<String>),
}

/// What is there of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Present,
    Missing,
    /// There, but not in the order that the rules of its chain must have.
    Misplaced,
}

/// One rule or route, as the command that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub text: String,
    pub standing: Standing,
}

/// What a namespace has of one family's redirection.
#[derive(Debug)]
pub struct FamilyReport {
    pub family: Family,
    /// All that belongs there, or why the family cannot be redirected there.
    pub items: Result<Vec<Item>, RedirectError>,
}

/// Installs what is missing in the namespace. IPv6 where it is wanted and possible; where it is wanted and not
/// possible, the returned warning says what that means.
pub fn add(netns: &Path, ipv6: bool) -> Result<Option<String>, RedirectError> {
    let netns = netns::open(netns)?;
    netns::inside(netns, move || {
        add_family(Family::V4)?;
        if !ipv6 {
            return Ok(None);
        }
        match add_family(Family::V6) {
            Ok(()) => Ok(None),
            Err(RedirectError::NoIpv6) => Ok(None),
            Err(unusable @ RedirectError::Unusable { .. }) => Ok(Some(format!(
                "IPv6 connections of this pod are not redirected and not encrypted: {unusable}"
            ))),
            Err(error) => Err(error),
        }
    })?
}

/// Removes everything of both families from the namespace, and looks whether it is gone.
pub fn remove(netns: &Path) -> Result<(), RedirectError> {
    let netns = netns::open(netns)?;
    netns::inside(netns, || {
        let v4 = remove_family(Family::V4);
        let v6 = remove_family(Family::V6);
        v4.and(v6)
    })?
}

/// What of both families is in the namespace.
pub fn show(netns: &Path) -> Result<Vec<FamilyReport>, RedirectError> {
    let netns = netns::open(netns)?;
    let report = |family| FamilyReport { family, items: items(family) };
    Ok(netns::inside(netns, || [Family::V4, Family::V6].map(report).into())?)
}

fn add_family(family: Family) -> Result<(), RedirectError> {
    if family == Family::V6 && !ipv6_is_on() {
        return Err(RedirectError::NoIpv6);
    }
    let firewall = Firewall::open(family)?;
    routes::add(family)?;
    firewall.add()
}

fn remove_family(family: Family) -> Result<(), RedirectError> {
    let firewall = match Firewall::open(family) {
        Ok(firewall) => firewall,
        // Where rules cannot be made, none are there; routes may be, of a start that failed at the rules.
        Err(RedirectError::Unusable { .. }) if family == Family::V6 => return routes::remove(family),
        Err(error) => return Err(error),
    };
    let (rules, routes) = (firewall.remove(), routes::remove(family));
    let left: Vec<String> = items(family)?
        .into_iter()
        .filter(|item| item.standing != Standing::Missing)
        .map(|item| item.text)
        .collect();
    rules.and(routes)?;
    if left.is_empty() { Ok(()) } else { Err(RedirectError::Left(left)) }
}

fn items(family: Family) -> Result<Vec<Item>, RedirectError> {
    let mut items = Firewall::open(family)?.items()?;
    items.extend(routes::items(family)?);
    Ok(items)
}

/// Whether the namespace of the calling thread has IPv6: without it no such connection can be made, and table 100
/// takes no route.
fn ipv6_is_on() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value.trim() == "0")
}

// === impl Family ===

impl Family {
    fn firewall_tool(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn ip_option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

// === impl Standing ===

impl Standing {
    fn of(present: bool) -> Self {
        if present { Self::Present } else { Self::Missing }
    }
}
