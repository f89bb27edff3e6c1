//! Capabilities of the process, and what the proxy needs each for. None is needed to start: which of them matter depends
//! on the mode, so what goes without is said and left to the operator.

use super::{Failure, Requirement, status_field};

const SYS_ADMIN_BIT: u32 = 21;

/// A capability by its bit (linux/capability.h).
struct Capability {
    name: &'static str,
    bit: u32,
    purpose: &'static str,
}

const WANTED: [Capability; 3] = [
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        purpose: "marking sockets (SO_MARK), transparent sockets and redirection rules",
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN_BIT,
        purpose: "entering the network namespaces of pods (in-pod mode only)",
    },
    Capability {
        name: "CAP_NET_RAW",
        bit: 13,
        purpose: "keeping the source address of clients (transparent sockets) and setting up redirection with iptables",
    },
];

pub(super) fn check(status: &str) -> impl Iterator<Item = Requirement> {
    let effective = effective(status);
    WANTED.iter().map(move |capability| Requirement {
        name: capability.name,
        outcome: judge(capability, effective),
        fatal: false,
    })
}

pub(super) fn is_admin(status: &str) -> bool {
    effective(status).is_some_and(|mask| mask & 1 << SYS_ADMIN_BIT != 0)
}

fn effective(status: &str) -> Option<u64> {
    u64::from_str_radix(status_field(status, "CapEff")?, 16).ok()
}

fn judge(capability: &Capability, effective: Option<u64>) -> Result<String, Failure> {
    let Capability { name, bit, purpose } = capability;
    let Some(effective) = effective else {
        let cause = format!("cannot tell whether the process has {name}, needed for {purpose}");
        return Err(Failure::new(cause, "mount /proc in the container"));
    };
    if effective & 1 << bit == 0 {
        let cause = format!("the process lacks {name}, needed for {purpose}");
        let cure = format!("add {} to securityContext.capabilities.add", name.trim_start_matches("CAP_"));
        return Err(Failure::new(cause, cure));
    }
    Ok(format!("there, for {purpose}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_is_read_from_its_own_bit() {
        for (mask, there) in [
            ("0000000000000000", [false, false, false]),
            ("0000000000001000", [true, false, false]),
            ("0000000000200000", [false, true, false]),
            ("0000000000002000", [false, false, true]),
            ("000001fffeffffff", [true, true, true]),
        ] {
            let status = format!("CapPrm:\tffffffffffffffff\nCapEff:\t{mask}\n");
            let found: Vec<_> = check(&status).map(|requirement| requirement.outcome.is_ok()).collect();
            assert_eq!(found, there, "{mask}");
            assert_eq!(is_admin(&status), there[1], "{mask}");
        }
    }

    #[test]
    fn an_unreadable_status_is_not_a_capability() {
        for status in ["", "CapEff:\tnot hexadecimal\n"] {
            assert!(check(status).all(|requirement| requirement.outcome.is_err() && !requirement.fatal));
        }
    }
}
