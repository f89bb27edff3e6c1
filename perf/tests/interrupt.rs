//! Signals in the middle of a run: what is whole is kept, and nothing is left in the system.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use testkit::process::wait_until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// A load that is not there by then never will be.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What a run that was cut short exits with.
const CUT_SHORT: Option<i32> = Some(130);

/// A run whose standard error is read line by line.
struct Run {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
    said: String,
    /// Where it is told to write to.
    directory: PathBuf,
}

impl Run {
    /// `None` where nobody may make namespaces.
    fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        if !testkit::run::is_root() {
            eprintln!("INCOMPLETE: {name}: network namespaces need root");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("ringway-perf-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("invariant: the temporary directory can be written to");
        // Whoever runs the tests may ignore the signal.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", PROGRAM]).args(arguments);
        if arguments.first() == Some(&"run") {
            command.arg("--json").arg(directory.join("run.json"));
            command.arg("--html").arg(directory.join("run.html"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("invariant: cargo built the program for this test");
        let errors = BufReader::new(child.stderr.take().expect("invariant: it is piped"));
        Some(Self { child, errors, said: String::new(), directory })
    }

    /// Returns when it has said this.
    fn wait_for(&mut self, words: &str) {
        while !self.said.contains(words) {
            let read = self.errors.read_line(&mut self.said).expect("invariant: what it says is text");
            assert!(read > 0, "it ended without {words:?}: {}", self.said);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("invariant: a pid is positive");
        kill(Pid::from_raw(pid), signal).expect("invariant: nobody waited for it yet");
    }

    /// Its end: status, standard output, and all that it said. Nothing is left of it.
    fn end(mut self) -> (ExitStatus, String, String, PathBuf) {
        let mut page = String::new();
        let mut out = self.child.stdout.take().expect("invariant: it is piped");
        out.read_to_string(&mut page).expect("invariant: what it says is text");
        self.errors.read_to_string(&mut self.said).expect("invariant: what it says is text");
        let status = self.child.wait().expect("invariant: it was started");
        let is_removed = || Ok(left_of(self.child.id()).is_empty().then_some(()));
        wait_until("nothing to be left", LOAD_TIMEOUT, is_removed).expect("invariant: a guard outlives it");
        (status, page, self.said, self.directory)
    }
}

/// Namespaces and directories of a run.
fn left_of(owner: u32) -> Vec<String> {
    let own = format!("rw-{owner}");
    let places = [PathBuf::from("/run/netns"), std::env::temp_dir()];
    let entries = places.into_iter().filter_map(|place| fs::read_dir(place).ok());
    let names = entries.flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name == &own || name.starts_with(&format!("{own}-"))).collect()
}

const ENDLESS: [&str; 9] =
    ["run", "--targets", "direct,plain", "--rounds", "900", "--seconds", "0.2", "--warm-up", "0"];

#[test]
fn the_rounds_that_are_whole_are_kept() {
    for (name, signal) in [("kept-int", Signal::SIGINT), ("kept-term", Signal::SIGTERM)] {
        let what = ["--workloads", "bulk,connect-warm"];
        let Some(mut run) = Run::start(name, &[&ENDLESS[..], &what].concat()) else { return };
        // In the third round: four measurements each.
        run.wait_for("\n10/");
        run.signal(signal);
        let (status, page, said, directory) = run.end();
        assert_eq!(status.code(), CUT_SHORT, "{said}");
        let report = fs::read(directory.join("run.json")).expect("invariant: two rounds are whole");
        let report: Value = serde_json::from_slice(&report).expect("invariant: what it writes is JSON");
        let whole = report["cut_short"]["whole_rounds"].as_u64().expect("invariant: it was cut short");
        assert!(whole >= 2, "{report}");
        let samples = report["samples"].as_array().expect("invariant: samples are a list");
        assert_eq!(
            samples.len() as u64,
            whole * 4,
            "{whole} rounds and nothing of the one that is not whole"
        );
        let mark = format!("This run was cut short: {whole} of 900 rounds were measured.");
        let html = fs::read_to_string(directory.join("run.html")).expect("invariant: two rounds are whole");
        assert!(page.starts_with(&format!("**{mark}**")) && html.contains(&mark), "{page}");
        assert!(said.contains("stopping") && said.contains(&mark), "{said}");
        fs::remove_dir_all(directory).expect("invariant: it was just made");
    }
}

/// Whatever it waits for: a load of its own that sleeps, one that runs to its end, or a program of others.
#[test]
fn without_a_whole_round_nothing_is_written_and_that_is_said() {
    let what = ["--seconds", "3000", "--rounds", "1", "--targets", "plain"];
    for workload in ["bulk", "first-byte", "iperf3-p1"] {
        let name = format!("none-{workload}");
        let chosen = ["--workloads", workload];
        let Some(mut run) = Run::start(&name, &[&["run"], &what[..], &chosen].concat()) else { return };
        wait_for_load(run.child.id());
        run.signal(Signal::SIGINT);
        run.wait_for("stopping");
        let (status, page, said, directory) = run.end();
        assert_eq!((status.code(), page.as_str()), (CUT_SHORT, ""), "{said}");
        assert!(said.contains("before a round was whole: nothing is written"), "{said}");
        assert_eq!(fs::read_dir(&directory).expect("invariant: it was just made").count(), 0);
        fs::remove_dir_all(directory).expect("invariant: it is empty");
    }
}

/// Until the load has a connection in the client's namespace: the generator may be there long before it.
fn wait_for_load(owner: u32) {
    let is_there = || {
        let output = Command::new("ip").args(["netns", "list"]).output()?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut names = names.lines().filter_map(|line| line.split(' ').next());
        let of_client = |name: &&str| name.starts_with(&format!("rw-{owner}-")) && name.ends_with("client0");
        let Some(client) = names.find(of_client) else { return Ok(None) };
        let look = ["netns", "exec", client, "ss", "-Htn", "state", "established"];
        let connections = Command::new("ip").args(look).output()?;
        Ok((!connections.stdout.is_empty()).then_some(()))
    };
    wait_until("the load", LOAD_TIMEOUT, is_there).expect("invariant: plain needs nothing");
}

/// Its orderly end would take for ever: nobody reads what it writes the run to.
#[test]
fn a_second_signal_leaves_at_once_and_leaves_nothing() {
    let Some(mut run) = Run::start("twice", &[&ENDLESS[..], &["--workloads", "bulk"]].concat()) else {
        return;
    };
    let unread = run.directory.join("run.json");
    mkfifo(&unread, Mode::S_IRWXU).expect("invariant: the directory was just made");
    run.wait_for("\n6/");
    run.signal(Signal::SIGTERM);
    run.wait_for("stopping");
    // Those that come too soon count as the first.
    let has_ended = || {
        run.signal(Signal::SIGINT);
        Ok(run.child.try_wait()?)
    };
    wait_until("its end", LOAD_TIMEOUT, has_ended).expect("invariant: a second signal ends it");
    let (status, page, said, directory) = run.end();
    assert_eq!((status.code(), page.as_str()), (CUT_SHORT, ""), "{said}");
    assert!(said.contains("leaving at once"), "{said}");
    assert!(!directory.join("run.html").exists(), "it went on");
    fs::remove_dir_all(directory).expect("invariant: it was just made");
}

/// A terminal that closes sends SIGHUP twice, and timeout signals its child and then the child's group.
#[test]
fn two_signals_of_one_cause_count_as_one() {
    let Some(mut run) = Run::start("one-cause", &[&ENDLESS[..], &["--workloads", "bulk"]].concat()) else {
        return;
    };
    run.wait_for("\n6/");
    run.signal(Signal::SIGTERM);
    run.wait_for("stopping");
    run.signal(Signal::SIGTERM);
    let (status, _, said, directory) = run.end();
    assert_eq!(status.code(), CUT_SHORT, "{said}");
    assert!(directory.join("run.json").exists() && !said.contains("leaving at once"), "{said}");
    fs::remove_dir_all(directory).expect("invariant: it was just made");
}

#[test]
fn the_gate_gives_no_verdict_on_what_was_cut_short() {
    let Ok(ringway) = testkit::proxy::ringway_binary() else {
        eprintln!(
            "INCOMPLETE: the_gate_gives_no_verdict_on_what_was_cut_short: it needs a ringway (RINGWAY_BIN)"
        );
        return;
    };
    let ringway = ringway.to_string_lossy();
    let what = ["gate", "--base-binary", &ringway, "--head", &ringway, "--workloads", "connect-warm"];
    let much = ["--rounds", "900", "--seconds", "0.2", "--warm-up", "0"];
    let Some(mut run) = Run::start("gate", &[&what[..], &much].concat()) else { return };
    run.wait_for("\n5/");
    run.signal(Signal::SIGINT);
    let (status, page, said, directory) = run.end();
    assert_eq!(status.code(), CUT_SHORT, "{said}");
    assert!(page.contains("| connect-warm | rate") && !page.contains("passed"), "{page}");
    assert!(said.contains("no verdict: This run was cut short: "), "{said}");
    fs::remove_dir_all(directory).expect("invariant: it is empty");
}

/// As of a script that runs it in the background: then Ctrl-C is for the script.
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    if !testkit::run::is_root() {
        eprintln!("INCOMPLETE: a_signal_that_was_ignored_stays_ignored: network namespaces need root");
        return;
    }
    let mut command = Command::new("env");
    command.args(["--ignore-signal=INT", PROGRAM, "run", "--targets", "direct", "--workloads", "bulk"]);
    command
        .args(["--rounds", "2", "--seconds", "0.2", "--warm-up", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("invariant: cargo built the program for this test");
    let mut errors = BufReader::new(child.stderr.take().expect("invariant: it is piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("invariant: what it says is text");
    kill(Pid::from_raw(i32::try_from(child.id()).expect("invariant: a pid is positive")), Signal::SIGINT)
        .expect("invariant: nobody waited for it yet");
    errors.read_to_string(&mut line).expect("invariant: what it says is text");
    assert!(child.wait().expect("invariant: it was started").success(), "{line}");
}
