//! What counts depend on, apart from our code.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::shell;

use super::callgrind;

/// By name: compilers, libraries, and what the program sees of the processor.
pub(super) type Environment = BTreeMap<String, String>;

/// Looks at this machine; `program` is the one that runs the cases.
pub(super) fn look(program: &Path) -> Result<Environment> {
    let rustc = shell::output(Command::new("rustc").arg("-vV"))?;
    let rustc = |name: &str| {
        let value = rustc.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned).with_context(|| format!("rustc -vV says nothing of {name}"))
    };
    let facts = [
        ("rustc", rustc("release")?),
        ("target", rustc("host")?),
        ("valgrind", answer("valgrind", &["--version"])),
        ("libc", answer("getconf", &["GNU_LIBC_VERSION"])),
        // It compiles the encryption.
        ("cc", answer("cc", &["-dumpfullversion", "-dumpversion"])),
        (
            "processor",
            shell::output(
                callgrind::valgrind(program)?
                    .args(["--tool=none"])
                    .arg(callgrind::here(program)?)
                    .arg("processor"),
            )?,
        ),
    ];
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// What a tool says of itself. One that is missing or knows no such question is a fact as well.
fn answer(program: &str, arguments: &[&str]) -> String {
    shell::output(Command::new(program).args(arguments)).unwrap_or_else(|_| "unknown".to_owned())
}
