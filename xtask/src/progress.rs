//! What is going on, on standard error: one line that changes on a terminal, one line a step elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

pub(crate) struct Progress {
    begin: Instant,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), is_terminal: stderr().is_terminal() }
    }

    /// Shows what begins now.
    pub(crate) fn step(&self, what: &str) {
        let seconds = self.begin.elapsed().as_secs_f64();
        // Progress that can't be shown is not worth an error.
        let _ = if self.is_terminal {
            write!(stderr(), "\r\x1b[K[{seconds:5.1} s] {what} …").and_then(|()| stderr().flush())
        } else {
            writeln!(stderr(), "[{seconds:5.1} s] {what}")
        };
    }

    /// Takes the line away.
    pub(crate) fn done(&self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K").and_then(|()| stderr().flush());
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}
