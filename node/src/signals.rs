//! SIGTERM and SIGINT: the first orders a drain, the second ends the process at once.
//!
//! They are blocked in every thread and waited for in one of its own: no handler runs in the middle of anything, and
//! a control thread that hangs cannot keep the second from working.

use std::io;
use std::thread;

use control::thread::Shutdown;
use nix::sys::signal::{SigSet, Signal};
use tracing::info;

/// What shells report for a process that a signal ended is this plus its number.
const SIGNAL_EXIT_CODE: i32 = 128;

/// The signals that end us, blocked from now on in this thread and all it starts.
pub(crate) struct EndSignals(SigSet);

impl EndSignals {
    /// To be called before any thread is started.
    pub(crate) fn block() -> nix::Result<Self> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Passes them on from now on.
    pub(crate) fn watch(self, shutdown: Shutdown) -> io::Result<()> {
        let wait = move || {
            if let Ok(signal) = self.0.wait() {
                info!(signal = signal.as_str(), "ending; the same again ends at once");
                shutdown.order();
            }
            if let Ok(signal) = self.0.wait() {
                std::process::exit(SIGNAL_EXIT_CODE + signal as i32);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}
