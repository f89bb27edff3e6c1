//! Files and functions stay short enough to be read at once.

use super::Finding;
use super::source::{Source, closing, is_word};

const FILE_LINES_MAX: usize = 600;
/// Tests that moved to a file of their own: tables are long.
const TEST_FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 70;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    let lines_max = if source.is_test_file() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > lines_max {
        findings.push(Finding::new(source, 0, format!("{lines} lines, at most {lines_max}: split it")));
    }
    for start in source.words("fn").filter(|&at| !source.is_test(at)) {
        let Some((name, end)) = function(&source.code, start) else { continue };
        let lines = source.line(end) - source.line(start) + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
            findings.push(Finding::new(source, start, message));
        }
    }
    findings
}

/// The name and the end of the function that begins at `start`; `None` for a type or one without a body.
fn function(code: &str, start: usize) -> Option<(&str, usize)> {
    let rest = code[start + 2..].trim_start();
    let name = &rest[..rest.find(|character| !is_word(character)).unwrap_or(rest.len())];
    if name.is_empty() {
        return None;
    }
    let mut at = code.len() - rest.len() + name.len();
    while let Some(next) = code[at..].find(['{', ';', '(', '[']) {
        at += next;
        match code.as_bytes()[at] {
            b';' => return None,
            b'{' => return Some((name, closing(code, at) - 1)),
            _ => at = closing(code, at),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn files_are_counted_with_their_tests_unless_those_moved() {
        assert_eq!(messages("engine/src/a.rs", &"x\n".repeat(600)), [""; 0]);
        assert_eq!(messages("engine/src/a.rs", &"x\n".repeat(601)).len(), 1);
        assert_eq!(messages("engine/src/a/tests.rs", &"x\n".repeat(900)), [""; 0]);
        assert_eq!(messages("engine/src/a/tests.rs", &"x\n".repeat(901)).len(), 1);
    }

    #[test]
    fn functions_are_counted_from_their_name_to_their_last_brace() {
        let function =
            |lines: usize| format!("\nfn long(a: [u8; 4]) -> u8 {{{}}}\nfn b();\n", "\n".repeat(lines - 1));
        assert_eq!(messages("engine/src/a.rs", &function(70)), [""; 0]);
        assert_eq!(
            messages("engine/src/a.rs", &function(71)),
            ["engine/src/a.rs:2: fn long has 71 lines, at most 70"]
        );
        let tested = format!("#[cfg(test)]\nmod tests {{{}}}", function(80));
        assert_eq!(messages("engine/src/a.rs", &tested), [""; 0]);
        let pointer = format!("type F = fn(u8);\nstruct A {{{}}}", "\n".repeat(100));
        assert_eq!(messages("engine/src/a.rs", &pointer), [""; 0]);
    }
}
