//! A bounded queue of lines in front of one thread that writes them out.
//!
//! Whoever logs never waits for the reader of our standard output: with a full queue the line is dropped and counted,
//! and the count is written as soon as there is room again, so that a gap in the access log is seen as one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written: ten seconds of a thousand connections each.
const LOG_QUEUE_LINES_MAX: usize = 10_000;

/// Bytes that may wait to be written: error texts make lines long.
const LOG_QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long the end of the process waits for the lines still in the queue.
const LOG_FLUSH_MS_MAX: u64 = 1_000;

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines dropped since the last one that was taken in.
    dropped: u64,
    /// True while the thread writes what it took out.
    writing: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rung when lines come in, when the queue is closed, and when everything is written.
    changed: Condvar,
}

impl Shared {
    /// A thread that died while it held the lock left a queue that is still whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        let full = queue.lines.len() >= LOG_QUEUE_LINES_MAX || queue.bytes + line.len() > LOG_QUEUE_BYTES_MAX;
        if full || queue.closed {
            queue.dropped += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.changed.notify_all();
    }

    /// Everything that waits, with a line on those that were dropped; `None` when closed and empty.
    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        queue.writing = false;
        self.changed.notify_all();
        while queue.lines.is_empty() && queue.dropped == 0 {
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        queue.bytes = 0;
        let mut text: Vec<u8> = std::mem::take(&mut queue.lines).into_iter().flatten().collect();
        let dropped = std::mem::take(&mut queue.dropped);
        if dropped > 0 {
            text.extend_from_slice(
                format!("{dropped} log lines dropped: standard output is too slow\n").as_bytes(),
            );
        }
        Some(text)
    }
}

/// Where the layer writes: each call is one whole line.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes out what is left when dropped, within a second.
#[must_use = "lines still in the queue are lost without it"]
pub struct LogGuard(Arc<Shared>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        self.0.changed.notify_all();
        let wait = Duration::from_millis(LOG_FLUSH_MS_MAX);
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        // Poisoned or late: nothing more can be done for these lines.
        let _ = self.0.changed.wait_timeout_while(queue, wait, busy);
    }
}

/// Starts the thread that writes to `out`.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Lines, LogGuard)> {
    let shared = Arc::new(Shared::default());
    let queue = Arc::clone(&shared);
    thread::Builder::new().name("log".to_owned()).spawn(move || write_out(&queue, out))?;
    Ok((Lines(Arc::clone(&shared)), LogGuard(shared)))
}

/// A reader that went away (EPIPE) must not end the proxy: its lines are lost, and that is all.
fn write_out(queue: &Shared, mut out: impl Write) {
    while let Some(text) = queue.take() {
        let _ = out.write_all(&text).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    /// Hands every write to the test, and waits for its leave before the next.
    struct Slow {
        written: mpsc::Sender<String>,
        leave: mpsc::Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            self.leave.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, LogGuard, mpsc::Receiver<String>, mpsc::Sender<()>) {
        let (written, read) = mpsc::channel();
        let (go, leave) = mpsc::channel();
        let (lines, guard) = start(Slow { written, leave }).unwrap();
        (lines, guard, read, go)
    }

    #[test]
    fn lines_are_written_in_order_and_flushed_at_the_end() {
        let (mut lines, guard, read, go) = slow();
        lines.write_all(b"one\n").unwrap();
        assert_eq!(read.recv().unwrap(), "one\n");
        lines.write_all(b"two\n").unwrap();
        lines.write_all(b"three\n").unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        drop(guard);
        assert_eq!(read.recv().unwrap(), "two\nthree\n");
    }

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let (mut lines, guard, read, go) = slow();
        lines.write_all(b"first\n").unwrap();
        // The thread holds `first` now; what follows waits in the queue.
        assert_eq!(read.recv().unwrap(), "first\n");
        for _ in 0..LOG_QUEUE_LINES_MAX + 7 {
            lines.write_all(b"x\n").unwrap();
        }
        go.send(()).unwrap();
        let rest = read.recv().unwrap();
        assert_eq!(rest.matches("x\n").count(), LOG_QUEUE_LINES_MAX);
        assert!(rest.ends_with("7 log lines dropped: standard output is too slow\n"));
        drop(go);
        drop(guard);
    }

    #[test]
    fn long_lines_count_by_their_bytes() {
        let shared = Shared::default();
        shared.push(&vec![b'x'; LOG_QUEUE_BYTES_MAX]);
        shared.push(b"y");
        let queue = shared.lock();
        assert_eq!((queue.lines.len(), queue.dropped), (1, 1));
    }

    #[test]
    fn a_reader_that_went_away_ends_nothing() {
        let (mut lines, guard, read, go) = slow();
        drop(go);
        lines.write_all(b"lost\n").unwrap();
        assert_eq!(read.recv().unwrap(), "lost\n");
        lines.write_all(b"lost too\n").unwrap();
        assert_eq!(read.recv().unwrap(), "lost too\n");
        drop(guard);
    }
}
