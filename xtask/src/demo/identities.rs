//! Who the proxies say was talking, and the lines of their access logs that say so.

use std::time::Duration;

use anyhow::Result;

use super::cluster::{Cluster, HTTP_PORT};

/// How long the last connection's line may take to be written.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// A line's fixed part that the reader does not need: time and level.
const SHOWN_FROM: &str = "access";

/// The access log lines of curl's connection on both nodes, and the identities in them.
pub(crate) fn render(cluster: &mut Cluster) -> Result<String> {
    // The blank ends the port: 8080 is another application.
    let destination = format!("={}:{HTTP_PORT} ", cluster.shop.ipv4);
    let mut lines = Vec::new();
    for (node, direction) in [(0, "outbound"), (1, "inbound")] {
        let words = ["access", "connection complete", &destination, direction];
        let process = cluster.mesh.process_of(node, if node == 0 { &cluster.web } else { &cluster.shop });
        lines.push(process.wait_for_line(&words, LINE_TIMEOUT)?);
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
pub(crate) fn value<'l>(line: &'l str, name: &str) -> Option<&'l str> {
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
