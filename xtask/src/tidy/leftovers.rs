//! What was meant to be done later is an issue, not a comment; a file is named for what it holds.

use super::Finding;
use super::source::{Source, words};

const MARKERS: [&str; 3] = ["TODO", "FIXME", "XXX"];
const MACROS: [&str; 2] = ["todo!", "unimplemented!"];
/// Names that say nothing but that somebody was helped.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "misc"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for marker in MARKERS {
        let found = words(&source.comments, marker);
        findings
            .extend(found.map(|at| Finding::new(source, at, format!("{marker}: do it, or open an issue"))));
    }
    for name in MACROS {
        let found = source.code.match_indices(name);
        findings.extend(found.map(|(at, _)| Finding::new(source, at, format!("{name} is a placeholder"))));
    }
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        findings.push(Finding::new(source, 0, format!("\"{part}\" does not say what is in it")));
    }
    findings
}

/// Markers in what is not Rust.
pub(crate) fn check_document(path: &str, text: &str) -> Vec<Finding> {
    if path.ends_with(".rs") {
        return Vec::new();
    }
    let marked =
        text.lines().enumerate().filter(|(_, line)| MARKERS.iter().any(|m| words(line, m).next().is_some()));
    let finding =
        |(at, _)| Finding { path: path.to_owned(), line: at + 1, message: "an open end".to_owned() };
    marked.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_placeholders_are_found() {
        let table = [
            ("engine/src/a.rs", "// TODO later", 1),
            ("engine/src/a.rs", "/// FIXME\nfn f() { todo!() }", 2),
            ("engine/src/a.rs", "let s = \"TODO\"; // TODOS", 0),
            ("engine/src/utils.rs", "", 1),
            ("control/src/helpers/mod.rs", "", 1),
            ("engine/src/utility_rooms.rs", "", 0),
        ];
        for (path, text, expected) in table {
            assert_eq!(check(&Source::new(path, text)).len(), expected, "{path}: {text}");
        }
        assert_eq!(check_document("docs/a.md", "one\nTODO two\n")[0].line, 2);
        assert_eq!(check_document("engine/src/a.rs", "let s = \"TODO\";"), []);
    }
}
