//! Nothing that ships panics for want of an answer: `unwrap` never, `expect` only with the proof that it can't fail.

use super::Finding;
use super::source::Source;

const PROOF: &str = "\"invariant:";

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in source.words("unwrap").filter(|&at| is_method(source, at, "unwrap")) {
        findings.push(Finding::new(source, at, "unwrap outside tests: say what goes on instead"));
    }
    for at in source.words("expect").filter(|&at| is_method(source, at, "expect")) {
        let argument = source.text[at + "expect(".len()..].trim_start();
        if !argument.starts_with(PROOF) {
            findings.push(Finding::new(source, at, format!("expect without its proof: begin with {PROOF}")));
        }
    }
    findings
}

/// A call of the method, in code that ships.
fn is_method(source: &Source, at: usize, name: &str) -> bool {
    source.code[..at].ends_with('.') && source.code[at + name.len()..].starts_with('(') && !source.is_test(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_outside_tests_need_a_proof() {
        let table = [
            ("a.unwrap();", 1),
            ("a\n    .unwrap();", 1),
            ("a.unwrap_or(b);", 0),
            ("a.expect(\"it works\");", 1),
            ("a.expect(reason);", 1),
            ("a.expect(\"invariant: checked above\");", 0),
            ("a.expect(\n    \"invariant: checked above\");", 0),
            ("a.expect_err(\"x\"); fn expect() {}", 0),
            ("// a.unwrap()\n#[cfg(test)]\nmod tests { fn t() { a.unwrap(); a.expect(\"x\"); } }", 0),
        ];
        for (text, expected) in table {
            assert_eq!(check(&Source::new("engine/src/a.rs", text)).len(), expected, "{text}");
        }
        assert_eq!(check(&Source::new("engine/src/a/tests.rs", "a.unwrap();")), []);
    }
}
