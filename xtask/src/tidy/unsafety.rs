//! `unsafe` lives where the ring and the namespaces are, and nowhere else.

use super::Finding;
use super::source::Source;

/// Besides the engine's two modules: global allocators that count, which can't be written without.
const ALLOWED: [&str; 5] = [
    "engine/src/uring/",
    "engine/src/net/",
    "engine/tests/",
    "benches/src/allocations.rs",
    "fuzz/tests/allocations.rs",
];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if ALLOWED.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let message = format!("unsafe outside {}", ALLOWED.join(", "));
    source.words("unsafe").map(|at| Finding::new(source, at, &message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_decides() {
        let table = [
            ("engine/src/uring/ring.rs", "unsafe { f() }", 0),
            ("engine/src/net/netns.rs", "unsafe { f() }", 0),
            ("engine/tests/allocations.rs", "unsafe impl GlobalAlloc for Counting {}", 0),
            ("engine/src/tls/seal.rs", "fn a() {}\nunsafe { f() }", 1),
            ("engine/src/network.rs", "unsafe fn f() {}", 1),
            ("control/src/lib.rs", "#![forbid(unsafe_code)] // unsafe is not needed", 0),
            ("tests/src/lab.rs", "let text = \"unsafe\";", 0),
        ];
        for (path, text, expected) in table {
            assert_eq!(check(&Source::new(path, text)).len(), expected, "{path}: {text}");
        }
        assert_eq!(check(&Source::new("engine/src/tls/seal.rs", "fn a() {}\nunsafe { f() }"))[0].line, 2);
    }
}
