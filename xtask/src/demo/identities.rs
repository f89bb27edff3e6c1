//! Who the proxies say was talking, and the lines of their access logs that say so.

use std::time::Duration;

use anyhow::{Context, Result};

use super::cluster::{Cluster, HTTP_PORT};

/// How long the last connection's line may take to be written.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// A line's fixed part that the reader does not need: time and level.
const SHOWN_FROM: &str = "access";

/// The access log lines of the last HTTP connection on both nodes, and the identities in them.
pub(crate) fn render(cluster: &mut Cluster) -> Result<String> {
    let destination = format!("dst.addr={}:", cluster.shop.ipv4);
    let mut lines = Vec::new();
    for (node, direction) in [(0, "outbound"), (1, "inbound")] {
        let process = cluster.mesh.process(node);
        let words = ["access", "connection complete", "src.workload", direction];
        process.wait_for_line(&words, LINE_TIMEOUT)?;
        let candidates = process.lines_with(&words);
        let http = format!(":{HTTP_PORT}");
        // The first to the shop's HTTP port is curl's; another proxy's log may name the ports otherwise.
        let is_curl = |line: &&String| line.contains(&destination) || line.contains(&http);
        let line = candidates.iter().find(is_curl).or_else(|| candidates.last());
        lines.push(line.context("no access log line of the transfer")?.clone());
    }
    let field = |name: &str| {
        let mut values = lines.iter().filter_map(|line| value(line, name));
        values.next_back().unwrap_or("not named").to_owned()
    };
    let mut text = format!(
        "identities, as both proxies verified them\n  source      {}\n  destination {}\naccess log\n",
        field("src.identity"),
        field("dst.identity"),
    );
    for line in &lines {
        text += &format!("  {}\n", line.find(SHOWN_FROM).map_or(line.as_str(), |at| &line[at..]));
    }
    Ok(text)
}

/// The value of `name=value` or `name="value"` in a line.
fn value<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let start = line.find(&format!("{name}="))? + name.len() + 1;
    let rest = &line[start..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split_whitespace().next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_quoted_and_bare() {
        let line = "x access connection complete src.addr=10.1.0.2:4 src.identity=\"spiffe://a/ns/b/sa/c\" duration=\"1ms\"";
        assert_eq!(value(line, "src.identity"), Some("spiffe://a/ns/b/sa/c"));
        assert_eq!(value(line, "src.addr"), Some("10.1.0.2:4"));
        assert_eq!(value(line, "dst.identity"), None);
    }
}
