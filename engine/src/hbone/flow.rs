//! The two flow-control windows of a stream or of the connection (RFC 9113 §5.2, §6.9).

use super::limits::WINDOW_BYTES_MAX;
use crate::handover::{ReadError, Reader, Writer};

/// What we may send. Below zero after the peer lowered SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

/// What the peer may send, and what it will be told it may send again.
///
/// `open + returned + what the application holds` is the window's full size; credit goes back in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Bytes the peer may still send. Below zero where our first SETTINGS lowered it after data came (§6.9.3).
    open: i64,
    /// Bytes given back that the peer has not been told about.
    returned: u32,
}

/// A window would have grown above 2^31-1 (RFC 9113 §6.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowOverflow;

/// The peer sent more than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowExceeded;

// === impl SendWindow ===

impl SendWindow {
    pub(super) fn new(bytes: u32) -> Self {
        debug_assert!(bytes <= WINDOW_BYTES_MAX);
        Self(i64::from(bytes))
    }

    pub(super) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available());
        self.0 -= bytes as i64;
    }

    /// A WINDOW_UPDATE (positive) or a change of SETTINGS_INITIAL_WINDOW_SIZE (either sign).
    pub(super) fn shift(&mut self, bytes: i64) -> Result<(), WindowOverflow> {
        if self.0 + bytes > i64::from(WINDOW_BYTES_MAX) {
            return Err(WindowOverflow);
        }
        self.0 += bytes;
        Ok(())
    }

    pub(super) fn write_down(self, w: &mut Writer) {
        w.i64(self.0);
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        window(r).map(Self)
    }
}

// === impl ReceiveWindow ===

impl ReceiveWindow {
    pub(super) fn new(bytes: u32) -> Self {
        debug_assert!(bytes <= WINDOW_BYTES_MAX);
        Self { open: i64::from(bytes), returned: 0 }
    }

    /// RFC 9113 §6.9.1: the whole payload of a DATA frame counts, padding too.
    pub(super) fn take(&mut self, bytes: u32) -> Result<(), WindowExceeded> {
        if i64::from(bytes) > self.open {
            return Err(WindowExceeded);
        }
        self.open -= i64::from(bytes);
        Ok(())
    }

    /// Gives bytes back that are no longer held. `Some` is what the peer is to be told now.
    pub(super) fn give_back(&mut self, bytes: usize, size: u32, batch: u32) -> Option<u32> {
        // Whoever gives back more than the peer sent must not overflow the peer's window.
        self.returned += bytes.min(self.held(size)) as u32;
        if self.returned < batch {
            return None;
        }
        let increment = std::mem::take(&mut self.returned);
        self.open += i64::from(increment);
        Some(increment)
    }

    /// Bytes the peer sent that were not given back.
    pub(super) fn held(&self, size: u32) -> usize {
        usize::try_from(i64::from(size) - self.open - i64::from(self.returned)).unwrap_or(0)
    }

    /// Our lowered SETTINGS_INITIAL_WINDOW_SIZE has reached the peer (RFC 9113 §6.9.2).
    pub(super) fn lower(&mut self, bytes: u32) {
        self.open -= i64::from(bytes);
    }

    /// Bytes that may still come on a stream we reset.
    pub(super) fn left(&self) -> u32 {
        u32::try_from(self.open).unwrap_or(0)
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { open, returned } = self;
        w.i64(*open);
        w.u32(*returned);
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let read = Self { open: window(r)?, returned: r.u32()? };
        if read.open + i64::from(read.returned) > i64::from(WINDOW_BYTES_MAX) {
            return Err(ReadError::Invalid("a receive window"));
        }
        Ok(read)
    }
}

fn window(r: &mut Reader<'_>) -> Result<i64, ReadError> {
    let max = i64::from(WINDOW_BYTES_MAX);
    let window = r.i64()?;
    if (-max..=max).contains(&window) { Ok(window) } else { Err(ReadError::Invalid("a window")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rfc9113_6_9_1_no_window_grows_above_its_maximum() {
        let mut window = SendWindow::new(WINDOW_BYTES_MAX - 1);
        assert_eq!(window.shift(1), Ok(()));
        assert_eq!(window.shift(1), Err(WindowOverflow));
        assert_eq!(window.available(), WINDOW_BYTES_MAX as usize);
    }

    #[test]
    fn rfc9113_6_9_2_a_send_window_may_be_negative() {
        let mut window = SendWindow::new(65_535);
        window.take(60_000);
        window.shift(16_384 - 65_535).unwrap();
        assert_eq!(window.available(), 0);
        window.shift(43_616).unwrap();
        assert_eq!(window.available(), 0);
        window.shift(1).unwrap();
        assert_eq!(window.available(), 1);
    }

    #[test]
    fn credit_goes_back_in_batches_and_never_twice() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(101), Err(WindowExceeded));
        assert_eq!(window.take(60), Ok(()));
        assert_eq!(window.give_back(24, 100, 25), None);
        assert_eq!(window.give_back(1, 100, 25), Some(25));
        assert_eq!(window.give_back(35, 100, 25), Some(35));
        assert_eq!(window.left(), 100);
    }

    #[test]
    fn a_lowered_receive_window_has_to_be_filled_first() {
        let mut window = ReceiveWindow::new(65_535);
        window.take(50_000).unwrap();
        window.lower(65_535 - 10_000);
        assert_eq!(window.take(1), Err(WindowExceeded));
        assert_eq!(window.left(), 0);
        assert_eq!(window.give_back(50_000, 10_000, 1), Some(50_000));
        assert_eq!(window.left(), 10_000);
    }
}
