//! Capabilities of the process, and which of them it cannot do without: that depends on what it is to do.

use super::{Duties, Failure, Requirement, status_field};

/// A capability by its bit (linux/capability.h).
struct Capability {
    name: &'static str,
    bit: u32,
    purpose: &'static str,
}

const SYS_ADMIN: Capability =
    Capability { name: "CAP_SYS_ADMIN", bit: 21, purpose: "entering the network namespaces of pods" };

const NET_ADMIN: Capability = Capability {
    name: "CAP_NET_ADMIN",
    bit: 12,
    purpose: "marking sockets (SO_MARK), transparent sockets and ringway redirect",
};

/// Since Linux 5.17 it does for sockets what NET_ADMIN does.
const NET_RAW: Capability = Capability {
    name: "CAP_NET_RAW",
    bit: 13,
    purpose: "transparent sockets without NET_ADMIN, and the iptables of ringway redirect",
};

/// Entering a namespace takes SYS_ADMIN, and marking a socket one of the other two.
pub(super) fn check(status: &str, duties: Duties) -> [Requirement; 3] {
    let effective = effective(status);
    let lacks = |capability: &Capability| effective.is_some_and(|mask| mask & 1 << capability.bit == 0);
    let marks_nothing = lacks(&NET_ADMIN) && lacks(&NET_RAW);
    [
        judge(&NET_ADMIN, effective, duties.marks, marks_nothing),
        judge(&SYS_ADMIN, effective, duties.enters, lacks(&SYS_ADMIN)),
        judge(&NET_RAW, effective, duties.marks, false),
    ]
}

pub(super) fn is_admin(status: &str) -> bool {
    effective(status).is_some_and(|mask| mask & 1 << SYS_ADMIN.bit != 0)
}

fn effective(status: &str) -> Option<u64> {
    u64::from_str_radix(status_field(status, "CapEff")?, 16).ok()
}

/// Whether it is there, where it is `needed` for something; `fatal` if that is all of the work.
fn judge(capability: &Capability, effective: Option<u64>, needed: bool, fatal: bool) -> Requirement {
    let Capability { name, bit, purpose } = capability;
    let outcome = match effective {
        Some(effective) if effective & 1 << bit != 0 => Ok(format!("there, for {purpose}")),
        Some(_) if !needed => Ok(format!("not there, and not needed as this proxy is set up: for {purpose}")),
        Some(_) => Err(Failure::new(
            format!("the process lacks {name}, needed for {purpose}"),
            format!("add {} to securityContext.capabilities.add", name.trim_start_matches("CAP_")),
        )),
        None => Err(Failure::new(
            format!("cannot tell whether the process has {name}, needed for {purpose}"),
            "mount /proc in the container",
        )),
    };
    Requirement { name, outcome, fatal: fatal && needed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: Duties = Duties { enters: true, marks: true };
    /// In the namespace of its pod, without a mark.
    const DEDICATED: Duties = Duties { enters: false, marks: false };
    const MARKED: Duties = Duties { enters: false, marks: true };

    fn status(mask: &str) -> String {
        format!("CapPrm:\tffffffffffffffff\nCapEff:\t{mask}\n")
    }

    #[test]
    fn each_capability_is_read_from_its_own_bit() {
        for (mask, there) in [
            ("0000000000000000", [false, false, false]),
            ("0000000000001000", [true, false, false]),
            ("0000000000200000", [false, true, false]),
            ("0000000000002000", [false, false, true]),
            ("000001fffeffffff", [true, true, true]),
        ] {
            let found = check(&status(mask), SHARED).map(|requirement| requirement.outcome.is_ok());
            assert_eq!(found, there, "{mask}");
            assert_eq!(is_admin(&status(mask)), there[1], "{mask}");
        }
    }

    /// As seen on Linux 6.18, with the proxy under each of them.
    #[test]
    fn what_the_work_cannot_be_done_without_is_fatal() {
        for (duties, mask, fatal) in [
            (SHARED, "0000000000203000", vec![]),
            (SHARED, "0000000000202000", vec![]),
            (SHARED, "0000000000201000", vec![]),
            (SHARED, "0000000000200000", vec!["CAP_NET_ADMIN"]),
            (SHARED, "0000000000003000", vec!["CAP_SYS_ADMIN"]),
            (SHARED, "0000000000000000", vec!["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
            (MARKED, "0000000000001000", vec![]),
            (MARKED, "0000000000002000", vec![]),
            (MARKED, "0000000000000000", vec!["CAP_NET_ADMIN"]),
            (DEDICATED, "0000000000000000", vec![]),
        ] {
            let requirements = check(&status(mask), duties);
            let missing = requirements.iter().filter(|one| one.fatal && one.outcome.is_err());
            assert_eq!(missing.map(|one| one.name).collect::<Vec<_>>(), fatal, "{duties:?} {mask}");
        }
        assert!(check(&status("0000000000000000"), DEDICATED).iter().all(|one| one.outcome.is_ok()));
    }

    #[test]
    fn an_unreadable_status_is_not_a_capability() {
        for status in ["", "CapEff:\tnot hexadecimal\n"] {
            for requirement in check(status, SHARED) {
                assert!(requirement.outcome.is_err() && !requirement.fatal, "{requirement:?}");
            }
        }
    }
}
