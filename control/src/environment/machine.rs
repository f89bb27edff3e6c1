//! The cores of the machine, and those that are ours.

use std::fs;

/// The cores of this machine as the start sees them: an argument, so that the rules about them are tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The cores this process may run on (its affinity mask), ascending.
    pub allowed: Vec<usize>,
    /// How many cores the machine has.
    pub cores: usize,
}

impl Machine {
    /// This machine, of which we may use these cores.
    pub fn with_allowed(mut allowed: Vec<usize>) -> Self {
        allowed.sort_unstable();
        // Where /sys is hidden, the machine counts as no larger than what we were given.
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let cores = online.as_deref().and_then(count).unwrap_or(allowed.len());
        Self { allowed, cores }
    }
}

/// How many cores a list of the kernel names: `0-3,8`.
fn count(list: &str) -> Option<usize> {
    list.trim()
        .split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first).map(|more| more + 1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel() {
        for (list, cores) in [
            ("0\n", Some(1)),
            ("0-3\n", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("a-b", None),
            ("3-0", None),
        ] {
            assert_eq!(count(list), cores, "{list:?}");
        }
    }

    #[test]
    fn cores_come_in_order() {
        assert_eq!(Machine::with_allowed(vec![3, 1]).allowed, [1, 3]);
    }
}
