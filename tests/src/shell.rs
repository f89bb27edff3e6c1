//! Running a system tool to its end: its output, or an error that holds the command and what the tool said.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// Debian's packages of the tools that are run here.
const PACKAGES: [(&str, &[&str]); 8] = [
    ("coreutils", &["date", "sha256sum", "uname"]),
    ("git", &["git"]),
    ("iproute2", &["ip", "ss", "tc"]),
    (
        "iptables",
        &[
            "ip6tables",
            "ip6tables-restore",
            "ip6tables-save",
            "iptables",
            "iptables-restore",
            "iptables-save",
        ],
    ),
    ("linux-perf", &["perf"]),
    ("procps", &["kill", "sysctl"]),
    ("tcpdump", &["tcpdump"]),
    ("util-linux", &["chrt", "nsenter", "setpriv"]),
];

/// Runs `program` with arguments that contain no blanks, given in one line: `run("ip link show")`.
pub fn run(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    output(Command::new(program).args(words))
}

/// Runs a command to its end; its standard output when it succeeded.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| not_started(command, error))?;
    finish(command, &output)
}

/// The same with `input` on its standard input.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(command, error))?;
    // Inputs here are far below the 64 KiB a pipe holds, so writing first cannot wait for the tool's output.
    let mut pipe = child.stdin.take().context("no pipe to the tool")?;
    pipe.write_all(input.as_bytes()).with_context(|| format!("{command:?}"))?;
    drop(pipe);
    let output = child.wait_with_output().with_context(|| format!("{command:?}"))?;
    finish(command, &output).with_context(|| format!("input:\n{input}"))
}

/// A tool that is not there is told with what to install.
fn not_started(command: &Command, error: std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    let package = PACKAGES.iter().find(|(_, tools)| tools.contains(&&*program));
    match package.filter(|_| error.kind() == std::io::ErrorKind::NotFound) {
        Some((package, _)) => anyhow!("{program} is not installed (Debian: {package})"),
        None => anyhow::Error::new(error).context(format!("{command:?}")),
    }
}

fn finish(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is, looked up in PATH and in the two directories that PATH often lacks for root.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn output_is_returned_and_a_failure_names_the_command_and_its_words() {
        assert_eq!(run("echo a b").unwrap(), "a b\n");
        let error =
            output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("broken") && error.contains("sh"),
            "{error}"
        );
    }

    #[test]
    fn a_tool_that_is_not_there_is_told_with_its_package() {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = not_started(Command::new("iptables-save").arg("-t"), gone()).to_string();
        assert_eq!(error, "iptables-save is not installed (Debian: iptables)");
        let error = run("no-such-program-here").unwrap_err().to_string();
        assert!(error.contains("no-such-program-here") && !error.contains("Debian"), "{error}");
    }

    #[test]
    fn input_reaches_the_tool() {
        assert_eq!(feed(Command::new("tr").args(["a-z", "A-Z"]), "abc").unwrap(), "ABC");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
