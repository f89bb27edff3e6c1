//! How far a run is: a bar with the time left on a terminal, a line a piece elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR_CELLS: usize = 24;

/// Of so many equal pieces of work.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    done: usize,
    all: usize,
    on_terminal: bool,
    /// How many pieces lie between two lines where there is no terminal.
    apart: usize,
}

impl Progress {
    pub(crate) fn new(all: usize) -> Self {
        Self { begun: Instant::now(), done: 0, all, on_terminal: io::stderr().is_terminal(), apart: 1 }
    }

    /// Of many small pieces: so many lines at most elsewhere.
    pub(crate) fn with_news(all: usize, lines: usize) -> Self {
        Self { apart: all.div_ceil(lines.max(1)).max(1), ..Self::new(all) }
    }

    /// One more is done.
    pub(crate) fn done(&mut self, what: &str) {
        self.done += 1;
        self.show(what);
    }

    /// Leaves the bar as it is.
    pub(crate) fn finish(&self) {
        if self.on_terminal {
            let _ = writeln!(io::stderr());
        }
    }

    fn show(&self, what: &str) {
        // Whoever closed the standard error does not want to see it.
        let _ = if self.on_terminal {
            write!(io::stderr(), "\r\x1b[K{} {what}", self.bar())
        } else if self.done.is_multiple_of(self.apart) || self.done == self.all {
            writeln!(io::stderr(), "{}/{} {what}", self.done, self.all)
        } else {
            Ok(())
        };
    }

    fn bar(&self) -> String {
        let filled = BAR_CELLS * self.done / self.all.max(1);
        let bar = "█".repeat(filled) + &"░".repeat(BAR_CELLS - filled);
        format!("{bar} {} left ", clock(left(self.begun.elapsed(), self.done, self.all)))
    }
}

fn left(passed: Duration, done: usize, all: usize) -> Duration {
    passed.mul_f64((all - done) as f64 / done.max(1) as f64)
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_rest_takes_at_the_same_pace() {
        assert_eq!(left(Duration::from_secs(60), 3, 12), Duration::from_secs(180));
        assert_eq!(left(Duration::from_secs(60), 12, 12), Duration::ZERO);
        assert_eq!(clock(Duration::from_secs(187)), "3:07");
    }
}
