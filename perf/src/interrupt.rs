//! Ctrl-C while something is measured. The first ends it in order: whatever waits is woken, all is taken down, and what is
//! whole is kept. The second leaves as soon as nothing is left in the system, whatever is written by then.
//!
//! One cause may send two: a terminal that closes does, and `timeout` signals its child and then the child's group. What
//! comes within [`SAME_CAUSE`] of the first is therefore no second one.
//!
//! Signals are waited for in a thread of its own. They are not blocked: what is started would inherit that, and could no
//! longer be told to end. Whoever waits long does so through this module, or asks [`check`] now and then.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use testkit::{process, run};
use tokio::runtime::Builder;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::group;

/// What shells report for a program that Ctrl-C ended, whichever signal it was here.
pub(crate) const EXIT_STATUS: u8 = 130;

/// Those that end us. One that whoever started us had ignored stays ignored, as under nohup.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Nobody who has read what the first signal began asks again sooner.
const SAME_CAUSE: Duration = Duration::from_secs(1);

/// Longer nobody waits for a reader of the standard error: it may be stopped, and we end all the same.
const SAY_TIMEOUT: Duration = Duration::from_secs(1);

/// What waits ends with this error once somebody wants us to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ended by a signal")
    }
}

impl std::error::Error for Interrupted {}

static IS_ASKED: Mutex<bool> = Mutex::new(false);
static ASKED: Condvar = Condvar::new();

/// From now on the signals that end us are only noted.
pub(crate) fn watch() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let ignored = ignored(&status);
    let runtime = Builder::new_current_thread().enable_io().build().context("waiting for signals")?;
    let within = runtime.enter();
    let watched = SIGNALS.into_iter().filter(|&watched| !is_in(ignored, watched));
    let streams = watched.map(|watched| signal(SignalKind::from_raw(watched as i32)));
    let mut streams = streams.collect::<Result<Vec<_>, _>>().context("waiting for signals")?;
    drop(within);
    let wait = move || {
        runtime.block_on(any(&mut streams));
        let first = Instant::now();
        // Said when it is done, and beside what follows: the standard error may block.
        *lock() = true;
        ASKED.notify_all();
        say("stopping: what is whole is kept; once more leaves at once".to_owned());
        runtime.block_on(any(&mut streams));
        while is_same_cause(first.elapsed()) {
            runtime.block_on(any(&mut streams));
        }
        leave();
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).context("waiting for signals")
}

/// The next of these signals.
async fn any(streams: &mut [unix::Signal]) {
    poll_fn(|context| {
        let is_here = streams.iter_mut().any(|stream| stream.poll_recv(context).is_ready());
        if is_here { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether what sent the first signal also sent one so long after it.
fn is_same_cause(after: Duration) -> bool {
    after < SAME_CAUSE
}

/// Whether somebody wants us to end.
pub(crate) fn is_asked() -> bool {
    *lock()
}

/// An error once somebody wants us to end.
pub(crate) fn check() -> Result<()> {
    if is_asked() { Err(Interrupted.into()) } else { Ok(()) }
}

/// An error as soon as somebody wants us to end.
pub(crate) fn sleep(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut is_asked = lock();
    while !*is_asked {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        is_asked = ASKED.wait_timeout(is_asked, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    Err(Interrupted.into())
}

/// Looks at `condition` until it gives a value, the deadline has passed or somebody wants us to end.
pub(crate) fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    process::wait_until(what, deadline, || {
        check()?;
        condition()
    })
}

/// How a program that was cut short ends: with nothing of it left in the system.
pub(crate) fn exit_code() -> ExitCode {
    clear();
    ExitCode::from(EXIT_STATUS)
}

fn leave() -> ! {
    let said = say("leaving at once".to_owned());
    group::end_all();
    clear();
    let _ = said.recv_timeout(SAY_TIMEOUT);
    std::process::exit(i32::from(EXIT_STATUS))
}

/// What it does not find, the guard of the run removes when this process has ended.
fn clear() {
    if let Err(error) = run::clear() {
        let _ = say(format!("{error:#}")).recv_timeout(SAY_TIMEOUT);
    }
}

/// Below a progress bar, if there is one; told when it was written.
fn say(what: String) -> Receiver<()> {
    let (written, is_written) = mpsc::channel();
    let write = move || {
        // Whoever closed the standard error does not want to see it, and whoever leaves may not wait.
        let _ = writeln!(io::stderr(), "\nringway-perf: {what}");
        let _ = written.send(());
    };
    // Without a thread for it nothing is said, and all else goes on.
    let _ = thread::Builder::new().name("says".to_owned()).spawn(write);
    is_written
}

fn lock() -> MutexGuard<'static, bool> {
    IS_ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// proc(5): `SigIgn:` is a mask in hexadecimal, the lowest bit for signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal as i32 - 1)) != 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let mask = ignored("Name:\tx\nSigIgn:\t0000000000001003\nSigCgt:\tffffffffffffffff\n");
        assert!(is_in(mask, Signal::SIGINT) && is_in(mask, Signal::SIGHUP) && !is_in(mask, Signal::SIGTERM));
        assert_eq!(ignored("Name:\tx\n"), 0);
    }

    #[test]
    fn two_signals_at_once_have_one_cause() {
        assert!(is_same_cause(Duration::ZERO) && is_same_cause(Duration::from_millis(200)));
        assert!(!is_same_cause(SAME_CAUSE));
    }

    #[test]
    fn without_a_signal_nothing_ends_early() {
        check().unwrap();
        sleep(Duration::ZERO).unwrap();
        assert_eq!(wait_until("a value", Duration::ZERO, || Ok(Some(7))).unwrap(), 7);
    }
}
