//! Running a system tool to its end: its output, or an error that holds the command and what the tool said.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `program` with arguments that contain no blanks, given in one line: `run("ip link show")`.
pub fn run(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    output(Command::new(program).args(words))
}

/// Runs a command to its end; its standard output when it succeeded.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    finish(command, &output)
}

/// The same with `input` on its standard input.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    // Inputs here are far below the 64 KiB a pipe holds, so writing first cannot wait for the tool's output.
    let mut pipe = child.stdin.take().context("no pipe to the tool")?;
    pipe.write_all(input.as_bytes()).with_context(|| format!("{command:?}"))?;
    drop(pipe);
    let output = child.wait_with_output().with_context(|| format!("{command:?}"))?;
    finish(command, &output).with_context(|| format!("input:\n{input}"))
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
    fn input_reaches_the_tool() {
        assert_eq!(feed(Command::new("tr").args(["a-z", "A-Z"]), "abc").unwrap(), "ABC");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
