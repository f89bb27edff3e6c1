//! The receiving end of a socket: armed only while its sink has room, in the mode that its traffic asks for.

use std::os::fd::BorrowedFd;

use crate::uring::{Driver, OpId, RecvMode, Token};

/// A chatty receive that fills its whole buffer is a transfer: this many in a row change the mode.
const FULL_TO_BULK: u8 = 2;

/// A bulk receive below [`SMALL_BYTES`] is a message: this many in a row change the mode back, so that waiting for the
/// next one holds no operation of its own per message.
const SMALL_TO_CHATTY: u8 = 16;

/// What still counts as a message.
const SMALL_BYTES: usize = 4 * 1024;

/// What counts as a full chatty buffer.
const FULL_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Intake {
    state: State,
    mode: RecvMode,
    wanted: RecvMode,
    /// In bulk mode no receive takes more than this, in bytes.
    most: u32,
    streak: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Armed(OpId),
    Stopping,
    /// The peer ended; there is nothing more to receive, ever.
    Over,
}

// === impl Intake ===

impl Default for Intake {
    fn default() -> Self {
        Self::up_to(u32::MAX)
    }
}

impl Intake {
    /// One whose bulk receives take no more than so many bytes, and no more than fit into a buffer.
    pub(crate) fn up_to(most: u32) -> Self {
        Self { state: State::Idle, mode: RecvMode::Chatty, wanted: RecvMode::Chatty, most, streak: 0 }
    }

    /// Receives from now on; does nothing if it already does, or must first come to rest.
    pub(crate) fn arm(&mut self, driver: &Driver, fd: BorrowedFd<'_>, token: Token) {
        if self.state == State::Idle {
            self.mode = self.wanted;
            let op = match self.mode {
                RecvMode::Chatty => driver.recv(fd, RecvMode::Chatty, token),
                RecvMode::Bulk => driver.recv_up_to(fd, self.most, token),
            };
            self.state = State::Armed(op);
        }
    }

    /// Stops receiving. What was received before still comes, then the final completion.
    pub(crate) fn stop(&mut self, driver: &Driver) {
        if let State::Armed(op) = self.state {
            driver.cancel(op);
            self.state = State::Stopping;
        }
    }

    /// Stops a standing receive, but lets a single-shot one wait: it takes one buffer at most.
    pub(crate) fn pause(&mut self, driver: &Driver) {
        if self.mode == RecvMode::Chatty {
            self.stop(driver);
        }
    }

    /// Every completion of the receive passes here first.
    pub(crate) fn completed(&mut self, more: bool) {
        if !more && self.state != State::Over {
            self.state = State::Idle;
        }
    }

    pub(crate) fn ended(&mut self) {
        self.state = State::Over;
    }

    /// Learns from the size of what came, and begins a change of mode where it is due.
    pub(crate) fn saw(&mut self, bytes: usize, driver: &Driver) {
        let unusual = match self.mode {
            RecvMode::Chatty => bytes >= FULL_BYTES,
            RecvMode::Bulk => bytes < SMALL_BYTES,
        };
        self.streak = if unusual { self.streak + 1 } else { 0 };
        match self.mode {
            RecvMode::Chatty if self.streak >= FULL_TO_BULK => self.change(RecvMode::Bulk, driver),
            RecvMode::Bulk if self.streak >= SMALL_TO_CHATTY => self.change(RecvMode::Chatty, driver),
            _ => {}
        }
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.mode == RecvMode::Bulk
    }

    /// The peer sends no more.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// No operation of ours is with the kernel.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Idle | State::Over)
    }

    fn change(&mut self, wanted: RecvMode, driver: &Driver) {
        self.streak = 0;
        self.wanted = wanted;
        self.stop(driver);
    }
}
