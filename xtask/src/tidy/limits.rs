//! Limits are named constants, and ARCHITECTURE.md lists every one with its value and its reason.
//!
//! The table is what stands between the two markers; `cargo xtask tidy --fix` writes it from the sources. A limit is a
//! constant of a crate that ships whose name ends in `_MAX` or `_LIMIT`, or holds `_TIMEOUT`; its reason is the first
//! line of its documentation.

use super::Finding;
use super::source::Source;

const BEGIN: &str = "<!-- limits -->";
const END: &str = "<!-- end of limits -->";
const SHIPPED: [&str; 3] = ["engine/src/", "control/src/", "node/src/"];

/// A constant that bounds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    path: String,
    name: String,
    value: String,
    reason: String,
}

impl Limit {
    fn row(&self) -> String {
        let place = self.path.trim_end_matches(".rs").trim_end_matches("/mod").replace("/src", "");
        format!("| `{}` | `{}` | {} | {} |", self.name, self.value, place, self.reason)
    }
}

/// The limits of a file that ships.
pub(crate) fn find(source: &Source) -> Vec<Limit> {
    constants(source).map(|(limit, _)| limit).collect()
}

/// A limit without a reason is a finding.
pub(crate) fn check_documented(source: &Source) -> Vec<Finding> {
    let bare = constants(source).filter(|(limit, _)| limit.reason.is_empty());
    bare.map(|(limit, at)| Finding::new(source, at, format!("{} does not say why it is so", limit.name)))
        .collect()
}

/// The table in `document` against the limits.
pub(crate) fn check_table(path: &str, document: &str, limits: &[Limit]) -> Vec<Finding> {
    if limits.is_empty() {
        return Vec::new();
    }
    let finding = |line: usize, message: String| Finding { path: path.to_owned(), line, message };
    let Some((before, table, _)) = parts(document) else {
        return vec![finding(1, format!("no table of limits between {BEGIN} and {END}"))];
    };
    let first = before.matches('\n').count() + 1;
    let mut findings = Vec::new();
    for row in rows(limits).iter().filter(|row| !table.lines().any(|line| line == *row)) {
        findings.push(finding(first, format!("the table of limits lacks {row}")));
    }
    for (at, line) in table.lines().enumerate() {
        if line.starts_with("| `") && !rows(limits).iter().any(|row| row == line) {
            findings.push(finding(first + at, format!("no such limit: {line}")));
        }
    }
    if !findings.is_empty() {
        findings.push(finding(first, "cargo xtask tidy --fix writes the table".to_owned()));
    }
    findings
}

/// The document with a fresh table; `None` where it has no place for one.
pub(crate) fn fix(document: &str, limits: &[Limit]) -> Option<String> {
    let (before, _, after) = parts(document)?;
    let rows = rows(limits).join("\n");
    Some(format!("{before}\n\n| limit | value | in | why |\n|---|---|---|---|\n{rows}\n\n{after}"))
}

fn rows(limits: &[Limit]) -> Vec<String> {
    limits.iter().map(Limit::row).collect()
}

/// What is before the table with its first marker, the table, and what follows from the second marker on.
fn parts(document: &str) -> Option<(&str, &str, &str)> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document[begin..].find(END)?;
    Some((&document[..begin], &document[begin..end], &document[end..]))
}

/// Every limit with the position of its name.
fn constants(source: &Source) -> impl Iterator<Item = (Limit, usize)> {
    let ships = SHIPPED.iter().any(|place| source.path.starts_with(place));
    let starts = source.words("const").filter(move |&at| ships && !source.is_test(at));
    starts.filter_map(|start| constant(source, start))
}

fn constant(source: &Source, start: usize) -> Option<(Limit, usize)> {
    let statement = &source.code[start..start + source.code[start..].find(';')?];
    let (left, _) = statement.split_once('=')?;
    let (name, kind) = left["const".len()..].split_once(':')?;
    let (name, kind) = (name.trim(), kind.trim());
    let is_limit = name.ends_with("_MAX") || name.ends_with("_LIMIT") || name.contains("_TIMEOUT");
    // A number or a time: an error code may be called a timeout too.
    let bounds = kind.ends_with("Duration") || kind.starts_with(['u', 'i', 'f']);
    if !is_limit || !bounds {
        return None;
    }
    let value = source.text[start + left.len() + 1..start + statement.len()].split_whitespace();
    let limit = Limit {
        path: source.path.clone(),
        name: name.to_owned(),
        value: value.collect::<Vec<_>>().join(" "),
        reason: reason(&source.text[..start]),
    };
    Some((limit, start))
}

/// The first line of the documentation that ends where `before` does.
fn reason(before: &str) -> String {
    let (lines_before, _) = before.rsplit_once('\n').unwrap_or_default();
    let documented = lines_before
        .lines()
        .rev()
        .map(str::trim)
        .skip_while(|line| line.starts_with("#["))
        .take_while(|line| line.starts_with("///"));
    let first = documented.last().unwrap_or_default();
    first.trim_start_matches('/').trim().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/// Streams a peer may open:\n/// more is an attack.\npub const STREAMS_MAX: u32 = 200;\n\
        /// A slow handshake.\n#[allow(dead_code)]\nconst HANDSHAKE_TIMEOUT: Duration =\n    Duration::from_secs(10);\n\
        const OTHER: u32 = 1;\nconst SETTINGS_TIMEOUT: Self = Self(4);\nfn f() -> usize { let x = STREAMS_MAX; x }\n\
        #[cfg(test)]\nmod tests { const TRIES_MAX: u32 = 3; }\n";

    fn limits() -> Vec<Limit> {
        find(&Source::new("engine/src/pool/mod.rs", TEXT))
    }

    #[test]
    fn limits_are_found_with_value_and_reason() {
        let rows: Vec<String> = limits().iter().map(Limit::row).collect();
        assert_eq!(
            rows,
            [
                "| `STREAMS_MAX` | `200` | engine/pool | Streams a peer may open: |",
                "| `HANDSHAKE_TIMEOUT` | `Duration::from_secs(10)` | engine/pool | A slow handshake. |",
            ]
        );
        assert_eq!(find(&Source::new("tests/src/a.rs", TEXT)), []);
    }

    #[test]
    fn a_limit_without_reason_is_a_finding() {
        let bare = Source::new("engine/src/a.rs", "\n\npub const STREAMS_MAX: u32 = 200;");
        assert_eq!(check_documented(&bare).len(), 1);
        assert_eq!(check_documented(&Source::new("engine/src/a.rs", TEXT)), []);
    }

    #[test]
    fn the_table_is_in_step_only_after_it_was_written() {
        let empty = format!("# Architecture\n\n{BEGIN}\n{END}\n\nmore\n");
        assert_eq!(check_table("A.md", &empty, &limits()).len(), 3);
        let written = fix(&empty, &limits()).unwrap_or_default();
        assert_eq!(check_table("A.md", &written, &limits()), []);
        assert_eq!(fix(&written, &limits()).unwrap_or_default(), written);
        assert!(written.starts_with("# Architecture") && written.ends_with("\n\nmore\n"));
        let changed = written.replace("`200`", "`100`");
        let findings = check_table("A.md", &changed, &limits());
        assert_eq!(findings.len(), 3, "one lacks, one is unknown, one tells the cure");
        assert_eq!(check_table("A.md", "no place", &limits()).len(), 1);
        assert_eq!(check_table("A.md", "no place", &[]), []);
    }
}
