//! ringway by revision: built once, in a work tree of its own, and kept below `target/perf`.
//!
//! ```text
//!   target/perf/bin/ringway-0123456789ab   one for each revision that was ever asked for
//!   target/perf/build                      cargo's target directory: the next build is incremental
//!   target/perf/tree                       the work tree, while a build runs
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::shell;

use crate::group::Group;
use crate::interrupt;

/// A build that takes longer than that hangs.
const BUILD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// A revision is named by this many digits of its hash.
const REVISION_DIGITS: usize = 12;

/// Removes a work tree when its input ends, however the one at the other end of it ended.
const GUARD: &str = r#"
trap '' INT TERM HUP QUIT
cat > /dev/null
git worktree remove --force "$1"
"#;

/// A ringway to measure, as `--ringway [NAME=]PATH` or `--ringway [NAME=]rev:REV` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingwayBuild {
    /// `ringway`, or `ringway:NAME`.
    pub(super) target: String,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Path(PathBuf),
    Revision(String),
}

impl FromStr for RingwayBuild {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, source) = match text.split_once('=') {
            Some((name, source)) => (Some(name), source),
            None => (None, text),
        };
        let source = match source.strip_prefix("rev:") {
            Some(revision) => Source::Revision(revision.to_owned()),
            None => Source::Path(source.into()),
        };
        let name = match (name, &source) {
            (Some(name), _) => Some(name),
            (None, Source::Revision(revision)) => Some(revision.as_str()),
            (None, Source::Path(_)) => None,
        };
        let is_suite = |name: &str| super::ringway::suite(name).is_some();
        ensure!(
            !name.is_some_and(is_suite),
            "{} chooses a cipher suite: give the build another name",
            name.unwrap_or_default()
        );
        let is_word = |name: &str| !name.is_empty() && !name.contains([',', ':']);
        ensure!(name.is_none_or(is_word), "give it as PATH, NAME=PATH, rev:REV or NAME=rev:REV");
        let target = name.map_or_else(|| "ringway".to_owned(), |name| format!("ringway:{name}"));
        Ok(Self { target, source })
    }
}

impl RingwayBuild {
    /// Its binary, by an absolute path since processes are started in other places. A revision is built first.
    pub(super) fn binary(&self) -> Result<PathBuf> {
        match &self.source {
            Source::Path(path) => super::existing(path),
            Source::Revision(revision) => of_revision(revision),
        }
    }

    /// Nothing has to be built, and nothing is there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(&self.source, Source::Path(path) if !path.is_file())
    }
}

/// An error when two have the same name: nobody could tell them apart in a report.
pub(super) fn expect_distinct(builds: &[RingwayBuild]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let twice = builds.iter().find(|build| !seen.insert(&build.target));
    twice.map_or(Ok(()), |build| bail!("two builds are called {}: give them names, NAME=PATH", build.target))
}

/// The binary of a revision of the repository around the current directory, built if it never was.
pub(crate) fn of_revision(revision: &str) -> Result<PathBuf> {
    of_revision_in(&repository()?, revision)
}

/// An error when there is no such revision, at once and not after another build.
pub(crate) fn expect_revision(revision: &str) -> Result<()> {
    commit_of(&repository()?, revision).map(drop)
}

/// The binary of the working tree around the current directory, with whatever is not committed yet.
pub(crate) fn of_working_tree() -> Result<PathBuf> {
    let top = repository()?;
    let place = top.join("target/perf");
    fs::create_dir_all(place.join("bin")).with_context(|| format!("making {}", place.display()))?;
    eprintln!("building ringway of the working tree");
    let built = build(&top, &top.join("target")).context("the working tree")?;
    // A copy, so that a build meanwhile does not change what is measured.
    let binary = place.join("bin/ringway-working-tree");
    fs::copy(&built, &binary).with_context(|| format!("copying {}", built.display()))?;
    Ok(binary)
}

fn of_revision_in(repository: &Path, revision: &str) -> Result<PathBuf> {
    let commit = commit_of(repository, revision)?;
    let short = commit.get(..REVISION_DIGITS).context("git names commits with more digits")?;
    let place = repository.join("target/perf");
    let binary = place.join("bin").join(format!("ringway-{short}"));
    fs::create_dir_all(place.join("bin")).with_context(|| format!("making {}", place.display()))?;
    // Two runs at once would take each other's tree away.
    let lock = File::create(place.join("lock"))?;
    wait_for(&lock, &place)?;
    if !binary.is_file() {
        eprintln!("building ringway {short} ({revision}): this takes minutes the first time");
        let tree = Tree::check_out(repository, &place.join("tree"), &commit)?;
        let built =
            build(&tree.directory, &place.join("build")).with_context(|| format!("ringway {short}"))?;
        // Under its name only when it is whole.
        let fresh = binary.with_extension("new");
        fs::copy(&built, &fresh).with_context(|| format!("copying {}", built.display()))?;
        fs::rename(&fresh, &binary)?;
    }
    Ok(binary)
}

/// Until no other process has it.
fn wait_for(lock: &File, place: &Path) -> Result<()> {
    let what = format!("another build in {}", place.display());
    interrupt::wait_until(&what, BUILD_TIMEOUT, || match lock.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", place.display())),
    })
}

/// The top of the one around the current directory.
fn repository() -> Result<PathBuf> {
    let top = git(Path::new("."), &["rev-parse", "--show-toplevel"]).context("looking for the repository")?;
    Ok(top.into())
}

fn commit_of(repository: &Path, revision: &str) -> Result<String> {
    let commit = format!("{revision}^{{commit}}");
    let commit = git(repository, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]);
    commit.ok().with_context(|| format!("no revision is called {revision:?}: see git log"))
}

fn build(tree: &Path, target_directory: &Path) -> Result<PathBuf> {
    // A build that nobody waits for any more ends, whichever signal ended us.
    let mut cargo = Command::new("setpriv");
    cargo.args(["--pdeathsig", "TERM", "cargo"]);
    cargo.args(["build", "--release", "--locked", "-p", "node"]).current_dir(tree);
    // What a build of this program by cargo left in the environment is not that revision's.
    cargo.env("CARGO_TARGET_DIR", target_directory).env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null());
    // What cargo says shows how far it is, and why it failed.
    let mut cargo = Group::spawn(&mut cargo)?;
    let status = interrupt::wait_until("cargo build", BUILD_TIMEOUT, || cargo.try_wait())?;
    if !status.success() {
        // The signal that ended us may have ended it first.
        interrupt::check()?;
        bail!("cargo build: {status}");
    }
    Ok(target_directory.join("release/ringway"))
}

/// A work tree that is gone when this is dropped, or when this process ends.
#[derive(Debug)]
struct Tree {
    directory: PathBuf,
    guard: Child,
}

impl Tree {
    /// Always in the same place: cargo knows by it what was built before.
    fn check_out(repository: &Path, directory: &Path, commit: &str) -> Result<Self> {
        let path = directory.to_str().context("the repository's path is not UTF-8")?;
        // One that was left behind, if any.
        let _ = git(repository, &["worktree", "remove", "--force", path]);
        git(repository, &["worktree", "prune"])?;
        git(repository, &["worktree", "add", "--detach", "--quiet", path, commit])?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", path]).current_dir(repository).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().context("starting the shell that removes the work tree")?;
        Ok(Self { directory: directory.to_owned(), guard })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    // Ctrl-C is for us: what git failed of would be told in its place.
    git.process_group(0);
    // A hook that runs us may have said where its repository is.
    git.current_dir(directory).env_remove("GIT_DIR").env_remove("GIT_INDEX_FILE").args(arguments);
    Ok(shell::output(&mut git)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn builds_are_named_by_the_user_or_by_their_revision() {
        for (text, target, source) in [
            ("target/release/ringway", "ringway", Source::Path("target/release/ringway".into())),
            ("old=/tmp/ringway", "ringway:old", Source::Path("/tmp/ringway".into())),
            ("rev:v0.1.0", "ringway:v0.1.0", Source::Revision("v0.1.0".to_owned())),
            ("base=rev:main~3", "ringway:base", Source::Revision("main~3".to_owned())),
        ] {
            assert_eq!(
                text.parse::<RingwayBuild>().unwrap(),
                RingwayBuild { target: target.to_owned(), source }
            );
        }
        for broken in ["=path", "a,b=path", "a:b=path", "rev:"] {
            assert!(broken.parse::<RingwayBuild>().is_err(), "{broken}");
        }
    }

    /// A repository whose first revision says `one`, whose second can't be built, and whose third differs from it in nothing
    /// but that its code is right.
    struct Repository(PathBuf);

    impl Repository {
        fn new() -> Self {
            let directory = std::env::temp_dir().join(format!("ringway-perf-builds-{}", std::process::id()));
            let repository = Self(directory);
            fs::create_dir_all(repository.0.join("src")).unwrap();
            repository.write("Cargo.toml", MANIFEST);
            repository
                .write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"node\"\nversion = \"0.0.0\"\n");
            repository.write(".gitignore", "target\n");
            repository.write("src/main.rs", "fn main() { println!(\"one\") }\n");
            repository.git(&["init", "--quiet", "--initial-branch=main"]);
            repository.commit("one");
            repository.write("src/main.rs", "fn main() { broken }\n");
            repository.commit("two");
            repository.write("src/main.rs", "fn main() { println!(\"three\") }\n");
            repository.commit("three");
            repository
        }

        fn write(&self, file: &str, text: &str) {
            fs::write(self.0.join(file), text).unwrap();
        }

        fn git(&self, arguments: &[&str]) -> String {
            git(&self.0, arguments).unwrap()
        }

        fn commit(&self, message: &str) {
            self.git(&["add", "--all"]);
            let author = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
            self.git(&[&author[..], &["commit", "--quiet", "--message", message]].concat());
        }
    }

    impl Drop for Repository {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MANIFEST: &str = "[package]\nname = \"node\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                            [[bin]]\nname = \"ringway\"\npath = \"src/main.rs\"\n\n[workspace]\n";

    #[test]
    fn a_revision_is_built_once_and_its_work_tree_goes_away() {
        let repository = Repository::new();
        let built = of_revision_in(&repository.0, "main~2").unwrap();
        assert_eq!(shell::output(&mut Command::new(&built)).unwrap(), "one\n");
        let short = &repository.git(&["rev-parse", "main~2"])[..REVISION_DIGITS];
        assert!(built.ends_with(format!("target/perf/bin/ringway-{short}")), "{}", built.display());
        let when = fs::metadata(&built).unwrap().modified().unwrap();
        assert_eq!(of_revision_in(&repository.0, short).unwrap(), built);
        assert_eq!(fs::metadata(&built).unwrap().modified().unwrap(), when);

        let error = format!("{:#}", of_revision_in(&repository.0, "main~1").unwrap_err());
        assert!(error.contains("cargo build: exit status: 101"), "{error}");
        // It was the code that cargo did not take.
        let built = of_revision_in(&repository.0, "main").unwrap();
        assert_eq!(shell::output(&mut Command::new(&built)).unwrap(), "three\n");
        let error = format!("{:#}", of_revision_in(&repository.0, "nowhere").unwrap_err());
        assert!(error.contains("no revision is called \"nowhere\""), "{error}");
        assert_eq!(repository.git(&["worktree", "list"]).lines().count(), 1);
        assert!(!repository.0.join("target/perf/tree").exists());
    }
}
