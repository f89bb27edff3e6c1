//! What a target is to a reader: ours, a peer that one could use in its place, or a yardstick.

use crate::record::{Encryption, Run, Subject};

/// Whom ringway replaces, so it is compared with that first.
const FIRST_PEER: &str = "ztunnel";

/// True for ringway and for all of its variants and builds, which are called `ringway:NAME`.
pub(crate) fn is_ringway(target: &str) -> bool {
    target == "ringway" || target.starts_with("ringway:")
}

/// True for what one could use in place of ringway: it encrypts, and is not there for measuring only.
pub(crate) fn is_peer(target: &Subject) -> bool {
    !is_ringway(&target.name) && !matches!(target.encryption, Encryption::None | Encryption::Sealed)
}

/// All peers, the one that matters most first; where there are none, all that is not ringway.
pub(crate) fn peers(run: &Run) -> Vec<&Subject> {
    let others = || run.targets.iter().filter(|target| !is_ringway(&target.name));
    let mut peers: Vec<&Subject> = others().filter(|target| is_peer(target)).collect();
    if peers.is_empty() {
        return others().collect();
    }
    peers.sort_by_key(|peer| peer.name != FIRST_PEER);
    peers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn peers_encrypt_and_ztunnel_is_the_first() {
        for (targets, expected) in [
            (
                &["direct", "sealed", "haproxy", "ztunnel", "ringway", "ringway:old"][..],
                &["ztunnel", "haproxy"][..],
            ),
            (&["direct", "ringway"], &["direct"]),
            (&["ringway"], &[]),
        ] {
            let run = made_up::run(targets, &[], 0);
            let names: Vec<&str> = peers(&run).iter().map(|peer| peer.name.as_str()).collect();
            assert_eq!(names, expected);
        }
    }
}
