//! Which cipher suites were negotiated: a comparison of different ones compares ciphers too, so it has to be said.

use super::roles::is_ringway;
use crate::record::{Run, Subject};

/// `TLS_AES_128_GCM_SHA256` as people say it.
pub(crate) fn short(suite: &str) -> String {
    let Some(name) = suite.strip_prefix("TLS_") else { return suite.to_owned() };
    let name = name.rsplit_once("_SHA").map_or(name, |(cipher, _)| cipher);
    name.replace('_', "-")
}

/// True for two that both negotiated a suite, and not the same one.
pub(crate) fn differ(this: &Subject, that: &Subject) -> bool {
    this.suite.is_some() && that.suite.is_some() && this.suite != that.suite
}

/// What to know before the figures are compared: one sentence for each peer whose suite is another one than ringway's.
pub(crate) fn notes(run: &Run) -> Vec<String> {
    let Some(ringway) = run.targets.iter().find(|target| target.name == "ringway") else {
        return Vec::new();
    };
    let peers = run.targets.iter().filter(|target| !is_ringway(&target.name) && differ(target, ringway));
    peers.map(|peer| note(run, ringway, peer)).collect()
}

fn note(run: &Run, ringway: &Subject, peer: &Subject) -> String {
    let suite = |target: &Subject| target.suite.as_deref().map(short).unwrap_or_default();
    let equal = run.targets.iter().find(|target| is_ringway(&target.name) && target.suite == peer.suite);
    let equal = equal.map_or_else(
        || "nothing here compares equal suites".to_owned(),
        |equal| format!("{} has the same as {}", equal.name, peer.name),
    );
    format!("By default ringway negotiates {} and {} {}: {equal}.", suite(ringway), peer.name, suite(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    fn run(targets: &[(&str, Option<&str>)]) -> Run {
        let subject = |&(name, suite): &(&str, Option<&str>)| Subject {
            name: name.to_owned(),
            suite: suite.map(str::to_owned),
            ..Subject::default()
        };
        Run { targets: targets.iter().map(subject).collect(), ..made_up::empty() }
    }

    #[test]
    fn suites_are_shortened() {
        for (suite, expected) in [
            ("TLS_AES_128_GCM_SHA256", "AES-128-GCM"),
            ("TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
            ("0xc02f", "0xc02f"),
        ] {
            assert_eq!(short(suite), expected);
        }
    }

    #[test]
    fn different_suites_are_named_with_the_row_that_is_equal() {
        const A: Option<&str> = Some("TLS_AES_128_GCM_SHA256");
        const B: Option<&str> = Some("TLS_AES_256_GCM_SHA384");
        assert_eq!(notes(&run(&[("ringway", A), ("ztunnel", A), ("direct", None)])), [""; 0]);
        let alone = notes(&run(&[("ztunnel", B), ("ringway", A)]));
        assert_eq!(
            alone,
            [
                "By default ringway negotiates AES-128-GCM and ztunnel AES-256-GCM: nothing here compares equal suites."
            ]
        );
        let both = notes(&run(&[("ztunnel", B), ("ringway", A), ("ringway:aes256", B)]));
        assert!(both[0].ends_with("ringway:aes256 has the same as ztunnel."), "{both:?}");
        assert_eq!(notes(&run(&[("direct", None)])), [""; 0]);
    }
}
