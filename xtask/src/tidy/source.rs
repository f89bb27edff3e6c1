//! A Rust file as the rules see it: code, comments and strings told apart, tests told apart from what ships.
//!
//! Not a parser. Everything that is not code is blanked out in place, so positions and lines stay those of the file.

use std::ops::Range;

/// One file and its readings.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked out.
    pub(crate) code: String,
    /// The text with everything but comments blanked out.
    pub(crate) comments: String,
    /// Where code is that exists only in tests.
    tests: Vec<Range<usize>>,
    is_test_file: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = separate(text);
        let tests = test_items(&code);
        let mut source =
            Self { path: path.to_owned(), text: text.to_owned(), code, comments, tests, is_test_file: false };
        if is_test_file(path) {
            source.mark_as_test();
        }
        source
    }

    /// Files that this one declares as modules for tests only: paths without `.rs`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let place = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
        let items = self.tests.iter().map(|range| &self.code[range.clone()]);
        let names = items.filter_map(|item| item.split_whitespace().last()).filter(|_| !self.is_test_file());
        names.filter(|name| name.chars().all(is_word)).map(|name| format!("{place}/{name}")).collect()
    }

    /// Takes the whole file for a test.
    pub(crate) fn mark_as_test(&mut self) {
        self.is_test_file = true;
        self.tests = std::iter::once(0..self.text.len()).collect();
    }

    /// The line, counted from 1, of a position.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    pub(crate) fn is_test_file(&self) -> bool {
        self.is_test_file
    }

    /// Where `word` stands in the code as a whole word.
    pub(crate) fn words<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        words(&self.code, word)
    }
}

/// Where `word` stands in `text` as a whole word.
pub(crate) fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The position after the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, character) in code[open..].char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    code.len()
}

fn is_test_file(path: &str) -> bool {
    // What fuzzes is a test of what ships.
    let mut parts = path.split('/').skip(usize::from(!path.starts_with("fuzz/")));
    parts.any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "fuzz"))
}

/// The items under `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let attribute = "#[cfg(test)]";
    code.match_indices(attribute)
        .map(|(start, _)| {
            let after = start + attribute.len();
            let end = code[after..].find(['{', ';']).map_or(code.len(), |at| after + at);
            let is_block = code[end..].starts_with('{');
            start..if is_block { closing(code, end) } else { end }
        })
        .collect()
}

/// What a stretch of the text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Splits the text into code and comments, each with all else blanked out.
fn separate(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, length) = stretch(rest, code.chars().next_back());
        let (stretch, after) = rest.split_at(length);
        for (target, wanted) in [(&mut code, Kind::Code), (&mut comments, Kind::Comment)] {
            if kind == wanted {
                target.push_str(stretch);
            } else {
                // Byte for byte, so that positions stay; lines stay too.
                target.extend(stretch.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            }
        }
        rest = after;
    }
    (code, comments)
}

/// The kind and length of the stretch that `rest` begins with; `before` is the last character of code.
fn stretch(rest: &str, before: Option<char>) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    // Letters before a quote belong to it only where a word could begin.
    let may_be_prefixed = !before.is_some_and(is_word);
    if (may_be_prefixed || rest.starts_with('"'))
        && let Some(length) = string(rest)
    {
        return (Kind::Literal, length);
    }
    if rest.starts_with('\'')
        && let Some(length) = character(rest)
    {
        return (Kind::Literal, length);
    }
    (Kind::Code, rest.chars().next().map_or(0, char::len_utf8))
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string literal of any kind.
fn string(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let content = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = content.find(&end).map_or(content.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    let content = body.strip_prefix('"')?;
    Some(prefix + 1 + quoted(content, '"'))
}

/// The length up to and with the closing quote, backslashes skipped.
fn quoted(content: &str, quote: char) -> usize {
    let mut characters = content.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    content.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let content = &rest[1..];
    let first = content.chars().next()?;
    if first == '\\' {
        return Some(1 + quoted(content, '\''));
    }
    let after = &content[first.len_utf8()..];
    after.starts_with('\'').then(|| 1 + first.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("engine/src/a.rs", text).code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_code_is_left() {
        let table = [
            ("a // comment unsafe\nb", "a b"),
            ("a /* one /* two */ still */ b", "a b"),
            (r#"f("text unsafe \" more"); b"#, "f( ); b"),
            (r###"f(r#"raw " unsafe"#); b"###, "f( ); b"),
            (r#"f(b"bytes", c"c", br"raw\"); b"#, "f( , , ); b"),
            (r"f('x', '\'', '\n', '{'); b", "f( , , , ); b"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            (r#"let for_str = bar"s";"#, r#"let for_str = bar ;"#),
            ("'outer: loop {}", "'outer: loop {}"),
        ];
        for (text, expected) in table {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn positions_stay_where_they_were() {
        let text = "let a = \"zwölf\n\"; // ö\nlet b;";
        let source = Source::new("engine/src/a.rs", text);
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.comments.len(), text.len());
        let at = source.words("b").next().expect("b is code");
        assert_eq!((at, source.line(at)), (text.find("b;").unwrap_or(0), 3));
        assert!(source.comments.contains("// ö") && !source.comments.contains("zw"));
    }

    #[test]
    fn tests_are_told_from_what_ships() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        let source = Source::new("engine/src/a.rs", text);
        let tested: Vec<bool> =
            ["a", "b", "c", "e"].iter().map(|name| source.words(name).any(|at| source.is_test(at))).collect();
        assert_eq!(tested, [false, true, false, false]);
        for (path, expected) in [
            ("engine/src/hbone/tests.rs", true),
            ("engine/tests/relay.rs", true),
            ("tests/tests/system/main.rs", true),
            ("tests/src/lab.rs", false),
            ("engine/src/hbone/frames.rs", false),
        ] {
            assert_eq!(Source::new(path, "").is_test_file(), expected, "{path}");
        }
    }

    #[test]
    fn modules_for_tests_only_are_named_by_their_files() {
        let text = "#[cfg(test)]\nmod fixture;\nmod real;\n#[cfg(test)]\npub(crate) mod tests {\n}";
        let table = [
            ("engine/src/mesh/mod.rs", "engine/src/mesh/fixture"),
            ("control/src/lib.rs", "control/src/fixture"),
            ("engine/src/mesh/route.rs", "engine/src/mesh/route/fixture"),
        ];
        for (path, expected) in table {
            assert_eq!(Source::new(path, text).test_modules(), [expected], "{path}");
        }
    }

    #[test]
    fn whole_words_only() {
        let source = Source::new("engine/src/a.rs", "unsafe_code unsafe { not_unsafe }");
        assert_eq!(source.words("unsafe").collect::<Vec<_>>(), [12]);
    }
}
