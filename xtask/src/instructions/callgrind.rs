//! Running the cases under callgrind.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow};
use testkit::shell;

use super::profile::Profile;
use crate::progress::Progress;
use crate::workspace;

/// The function of `benches` in which a case does what is counted.
const COUNTED: &str = "--toggle-collect=*counted_operations*";

/// Where the C library would count what is not ours.
///
/// Freed memory is handed out again from a list as long as this, whatever else was freed before: how malloc otherwise puts
/// pieces together depends on where the seeds of hash maps have put them. And large pieces are copied and cleared by
/// vectors, not by `rep movsb`, of which every byte would count as an instruction.
const TUNABLES: &str = "glibc.malloc.tcache_count=60000:glibc.cpu.x86_rep_movsb_threshold=1073741824:\
                        glibc.cpu.x86_rep_stosb_threshold=1073741824";

/// A case and what it took.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) name: String,
    /// What is counted once.
    pub(super) operation: String,
    pub(super) operations: u64,
    pub(super) profile: Profile,
}

/// Counts every case whose name contains `filter`, as many at a time as there are processors.
pub(super) fn count(program: &Path, filter: &str) -> Result<Vec<Count>> {
    let listed = shell::output(Command::new(program).arg("list"))?;
    let mut cases = listed.lines().map(parse_case).collect::<Result<Vec<_>>>()?;
    cases.retain(|case| case.name.contains(filter));
    let outputs = workspace::root().join("target/instructions");
    fs::create_dir_all(&outputs).with_context(|| format!("making {}", outputs.display()))?;

    let progress = Progress::new();
    let left = Mutex::new(cases.iter_mut());
    let work = || -> Result<()> {
        loop {
            let next = left.lock().map_err(|_| anyhow!("another case panicked"))?.next();
            let Some(case) = next else { return Ok(()) };
            progress.step(&format!("counting {}", case.name));
            case.profile = profile(program, &case.name, &outputs.join(format!("{}.out", case.name)))?;
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a case panicked"))?)
    })?;
    progress.done();
    Ok(cases)
}

/// A line of `instructions list`.
fn parse_case(line: &str) -> Result<Count> {
    let mut parts = line.split('\t').map(str::to_owned);
    let (Some(name), Some(operations), Some(operation), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(anyhow!("the program listed {line:?} as a case"));
    };
    let operations = operations.parse().with_context(|| format!("the operations of {line:?}"))?;
    Ok(Count { name, operation, operations, profile: Profile::default() })
}

/// Counts one case. What callgrind wrote stays in `output`, for `callgrind_annotate`.
fn profile(program: &Path, case: &str, output: &Path) -> Result<Profile> {
    let mut out_file = OsString::from("--callgrind-out-file=");
    out_file.push(output);
    let mut command = valgrind(program)?;
    command.args(["--tool=callgrind", "--cache-sim=no", COUNTED]).arg(out_file);
    command.arg(here(program)?).args(["run", case]);
    shell::output(&mut command)?;
    let text = fs::read_to_string(output).with_context(|| format!("reading {}", output.display()))?;
    Profile::parse(&text).with_context(|| format!("{} is not what callgrind writes", output.display()))
}

/// Valgrind beside `program`, with nothing in the environment that is not the same everywhere: its length moves the stack,
/// and how memory is copied depends on how it lies.
pub(super) fn valgrind(program: &Path) -> Result<Command> {
    let directory = program.parent().context("a program without a directory")?;
    let mut command = Command::new("valgrind");
    command.current_dir(directory).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("GLIBC_TUNABLES", TUNABLES).args(["--quiet", "--vgdb=no"]);
    Ok(command)
}

/// The program as it is called in its own directory.
pub(super) fn here(program: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program without a name")?;
    Ok(Path::new(".").join(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listed_case_is_read_and_another_line_refused() {
        let case = parse_case("route\t200\tthe route to one of 10,000").unwrap();
        assert_eq!((case.name.as_str(), case.operations), ("route", 200));
        assert_eq!(case.operation, "the route to one of 10,000");
        for line in ["", "route\t200", "route\tmany\tx", "route\t200\tx\ty"] {
            assert!(parse_case(line).is_err(), "{line:?}");
        }
    }
}
