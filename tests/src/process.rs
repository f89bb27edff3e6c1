//! A process started for a test: what it wrote, what it holds, and its end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::run::Run;

/// How often a condition is looked at while waiting for it.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Looks at `condition` until it gives a value; an error naming `what` when the deadline passed.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} ms in vain for {what}", deadline.as_millis());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// A running process whose output goes to two files; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` inside `netns`, with its output in files of a directory called `name`.
    pub fn start(name: &str, netns: &Netns, command: &mut Command) -> Result<Self> {
        let directory = Run::current()?.unique_directory(name)?;
        let stdout = directory.join("stdout");
        let stderr = directory.join("stderr");
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let child = netns.spawn_process(command)?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, standard output first.
    pub fn written(&self) -> String {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        read(&self.stdout) + &read(&self.stderr)
    }

    /// The lines written so far that contain every one of `words`.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let written = self.written();
        written
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a line that contains every one of `words`.
    pub fn wait_for_line(&mut self, words: &[&str], deadline: Duration) -> Result<String> {
        let what = format!("a line with {words:?} of {}", self.name);
        let line = wait_until(&what, deadline, || {
            let line = self.lines_with(words).into_iter().next();
            if line.is_none() {
                self.expect_running()?;
            }
            Ok(line)
        });
        line.with_context(|| self.last_words())
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error with its last words when it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.last_words()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let status = wait_until(&what, deadline, || Ok(self.child.try_wait()?));
        status.with_context(|| self.last_words())
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().map(drop).with_context(|| format!("killing {}", self.name))
    }

    /// How many file descriptors it holds.
    pub fn open_fds(&self) -> Result<usize> {
        let place = format!("/proc/{}/fd", self.child.id());
        Ok(fs::read_dir(&place).with_context(|| place)?.count())
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The most resident memory it ever had, in KiB.
    pub fn resident_peak_kib(&self) -> Result<u64> {
        self.status_field("VmHWM:")
    }

    /// CPU time used so far, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc(5): the name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
        Ok(Duration::from_secs(1).mul_f64(ticks as f64 / per_second as f64))
    }

    fn status_field(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(field));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        // A process that has ended keeps its place here until it is waited for, and has no memory.
        let Some(value) = value else { bail!("{} has ended\n{}", self.name, self.last_words()) };
        value.parse().context(field.to_owned())
    }

    fn last_words(&self) -> String {
        let written = self.written();
        let lines: Vec<&str> = written.lines().collect();
        format!("last words of {}:\n{}", self.name, lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waiting_ends_with_the_value_or_names_what_was_missed() {
        let mut looks = 0;
        let found = wait_until("a third look", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
        let missed = wait_until("what never comes", Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert!(missed.to_string().contains("what never comes"), "{missed}");
    }
}
