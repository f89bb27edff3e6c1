//! glommio hosts and places tasks; our driver does the rest. Its timers, sockets, channels and blocking pool would sleep
//! on rings of their own, behind the driver's back; its list of online cores ignores the affinity mask.

use super::Finding;
use super::source::{Source, words};

const BANNED: [&str; 6] = ["timer", "net", "io", "channels", "spawn_blocking", "online"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("engine/src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for start in source.words("glommio") {
        let path = path(&source.code[start..]);
        for name in BANNED.iter().filter(|name| words(path, name).next().is_some()) {
            findings.push(Finding::new(source, start, format!("glommio's {name} is not for the engine")));
        }
    }
    // Methods and associated functions need no path that names glommio.
    for call in [".spawn_blocking(", "CpuSet::online"] {
        for (at, _) in source.code.match_indices(call) {
            findings.push(Finding::new(source, at, format!("{call} is not for the engine")));
        }
    }
    findings
}

/// The path or tree of imports that `code` begins with.
fn path(code: &str) -> &str {
    let end = code.find(|character: char| !(character.is_alphanumeric() || "_:".contains(character)));
    let end = end.unwrap_or(code.len());
    if code[end..].starts_with('{') { &code[..super::source::closing(code, end)] } else { &code[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosting_is_taken_from_glommio() {
        let table = [
            ("use glommio::{LocalExecutorBuilder, Placement};", 0),
            ("let t = glommio::spawn_local(timer);", 0),
            ("use glommio::timer::sleep;", 1),
            ("use glommio::{LocalExecutor, net::TcpStream};", 1),
            ("use glommio::{channels::{local_channel, spsc_queue}, timer::Timer};", 2),
            ("glommio::executor().spawn_blocking(|| ());", 1),
            ("let cores = CpuSet::online();", 1),
            ("// glommio::timer is not used", 0),
        ];
        for (text, expected) in table {
            assert_eq!(check(&Source::new("engine/src/shard/mod.rs", text)).len(), expected, "{text}");
            assert_eq!(check(&Source::new("benches/a.rs", text)).len(), 0);
        }
    }
}
