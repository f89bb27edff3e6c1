//! Which crate may use which: proto <- control -> engine <- node, and what the engine never names.

use toml::{Table, Value};

use super::Finding;
use super::source::Source;

/// Ours, with those of ours each may depend on. perf sees only binaries, through the test kit.
const DIRECTIONS: [(&str, &[&str]); 9] = [
    ("proto", &[]),
    ("engine", &[]),
    ("control", &["proto", "engine"]),
    ("node", &["engine", "control"]),
    ("benches", &["engine"]),
    ("perf", &["testkit"]),
    // As the other side of every protocol: control planes for tests.
    ("tests", &["proto"]),
    ("xtask", &["testkit"]),
    ("fuzz", &["engine"]),
];

/// Names as packages call themselves.
const OURS: [&str; 9] =
    ["proto", "engine", "control", "node", "benches", "ringway-perf", "testkit", "xtask", "ringway-fuzz"];

/// What a crate that ships never names; its tests may.
const FOREIGN: [(&str, &[&str]); 2] = [
    ("engine", &["tokio", "tonic", "prost", "serde", "serde_json", "hyper", "axum", "h2"]),
    ("control", &["glommio", "io-uring"]),
];

/// The dependencies of one manifest.
pub(crate) fn check_manifest(path: &str, manifest: &Table) -> Vec<Finding> {
    let finding = |message: String| Finding { path: path.to_owned(), line: 1, message };
    let place = path.trim_end_matches("/Cargo.toml");
    let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == place) else {
        return vec![finding("a crate whose place is not decided: add it to tidy's directions".to_owned())];
    };
    let mut findings = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        for name in names(manifest, section) {
            if OURS.contains(&name) && !allowed.contains(&name) {
                findings.push(finding(format!("{place} may not depend on {name} ({section})")));
            }
            if section != "dev-dependencies" && foreign(place).contains(&name) {
                findings.push(finding(format!("{place} may not depend on {name} outside its tests")));
            }
        }
    }
    findings
}

fn names<'m>(manifest: &'m Table, section: &str) -> impl Iterator<Item = &'m str> {
    manifest
        .get(section)
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|table| table.keys().map(String::as_str))
}

fn foreign(place: &str) -> &'static [&'static str] {
    FOREIGN.iter().find(|(name, _)| *name == place).map_or(&[], |(_, names)| names)
}

/// The names in one file of a crate.
pub(crate) fn check_source(source: &Source) -> Vec<Finding> {
    let Some((place, _)) = source.path.split_once("/src/") else { return Vec::new() };
    let mut findings = Vec::new();
    for name in foreign(place) {
        let name = name.replace('-', "_");
        let named = source.words(&name).filter(|&at| {
            // A path or an import; a variable may be called as it likes.
            let is_path = source.code[at + name.len()..].starts_with("::");
            let is_import = source.code[..at].trim_end().ends_with("use");
            (is_path || is_import) && !source.is_test(at)
        });
        findings.extend(named.map(|at| Finding::new(source, at, format!("{place} may not name {name}"))));
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn manifest(path: &str, text: &str) -> Vec<String> {
        let findings = check_manifest(path, &toml::from_str(text).unwrap());
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn directions_are_kept() {
        let table = [
            (
                "control/Cargo.toml",
                "[dependencies]\nengine.workspace = true\nproto = { path = \"../proto\" }",
                0,
            ),
            ("engine/Cargo.toml", "[dependencies]\ncontrol.workspace = true", 1),
            ("engine/Cargo.toml", "[dev-dependencies]\ncontrol.workspace = true", 1),
            ("engine/Cargo.toml", "[dependencies]\ntokio = \"1\"", 1),
            ("engine/Cargo.toml", "[dev-dependencies]\ntokio = \"1\"\nh2 = \"0.4\"", 0),
            ("control/Cargo.toml", "[dependencies]\nio-uring = \"0.7\"", 1),
            ("perf/Cargo.toml", "[dependencies]\nengine.workspace = true", 1),
            ("perf/Cargo.toml", "[dependencies]\ntestkit.workspace = true", 0),
            ("extra/Cargo.toml", "", 1),
        ];
        for (path, text, expected) in table {
            assert_eq!(manifest(path, text).len(), expected, "{path}: {text}");
        }
    }

    #[test]
    fn names_in_sources_are_found_outside_tests() {
        let table = [
            ("engine/src/a.rs", "use tokio::net::TcpStream;", 1),
            ("engine/src/a.rs", "use tokio;", 1),
            ("engine/src/a.rs", "let h2 = 5; hyper_space::jump();", 0),
            ("engine/src/a.rs", "#[cfg(test)]\nmod tests { use h2::client; }", 0),
            ("engine/src/a/tests.rs", "use h2::client;", 0),
            ("control/src/a.rs", "io_uring::IoUring::new(8);", 1),
            ("control/src/a.rs", "use tokio::net::TcpStream;", 0),
            ("tests/src/a.rs", "use tokio::net::TcpStream;", 0),
        ];
        for (path, text, expected) in table {
            assert_eq!(check_source(&Source::new(path, text)).len(), expected, "{path}: {text}");
        }
    }
}
