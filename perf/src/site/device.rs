//! Network devices that not every kernel has.

use testkit::netns::Netns;

/// Why this kernel can't make a device of this kind, `arguments` being what `ip link add` needs for it: tried out in a
/// namespace that nobody else sees.
pub(crate) fn unavailable(kind: &str, arguments: &str) -> Option<String> {
    let tried =
        Netns::new("probe").and_then(|netns| netns.ip(&format!("link add probe type {kind} {arguments}")));
    tried.err().map(|error| format!("this kernel has no {kind}: {}", last_line(&format!("{error:#}"))))
}

/// The same of a queueing discipline.
pub(crate) fn queue_unavailable(kind: &str, arguments: &str) -> Option<String> {
    let tried = Netns::new("probe")
        .and_then(|netns| netns.run(&format!("tc qdisc add dev lo root {kind} {arguments}")));
    tried.err().map(|error| format!("this kernel has no {kind}: {}", last_line(&format!("{error:#}"))))
}

/// The tool's own words come last.
fn last_line(message: &str) -> &str {
    message.lines().last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_no_kernel_has_is_told_in_the_tools_words() {
        if !testkit::run::is_root() {
            eprintln!("INCOMPLETE: network namespaces need root");
            return;
        }
        assert_eq!(unavailable("veth", ""), None);
        assert_eq!(
            unavailable("nonsense", "").as_deref(),
            Some("this kernel has no nonsense: Error: Unknown device type.")
        );
        let reason = queue_unavailable("nonsense", "");
        assert!(reason.is_some_and(|reason| reason.starts_with("this kernel has no nonsense: ")));
    }
}
