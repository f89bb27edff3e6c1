//! Budgets for what a peer may do without getting anything done.
//!
//! Each kind of cheap frame has a budget in [`limits`]; a frame spends one, useful work gives some back, and so does
//! every keepalive of ours. A spent budget ends the session with ENHANCE_YOUR_CALM (RFC 9113 §10.5).

use super::error::Fault;
use super::limits;
use crate::handover::{ReadError, Reader, Writer};

/// The kinds of floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// Streams that ended before they came to anything.
    Resets,
    Pings,
    Settings,
    EmptyData,
    WindowUpdates,
    /// Everything else that gets nothing done.
    Other,
}

/// What is left of each budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floods {
    left: [u32; KINDS],
}

const KINDS: usize = 6;

// === impl Flood ===

impl Flood {
    const ALL: [Self; KINDS] =
        [Self::Resets, Self::Pings, Self::Settings, Self::EmptyData, Self::WindowUpdates, Self::Other];

    fn budget(self) -> u32 {
        match self {
            Self::Resets => limits::RESET_BUDGET_FRAMES,
            Self::Pings => limits::PING_BUDGET_FRAMES,
            Self::Settings => limits::SETTINGS_BUDGET_FRAMES,
            Self::EmptyData => limits::EMPTY_DATA_BUDGET_FRAMES,
            Self::WindowUpdates => limits::WINDOW_UPDATE_BUDGET_FRAMES,
            Self::Other => limits::OTHER_BUDGET_FRAMES,
        }
    }

    fn refill(self) -> u32 {
        match self {
            Self::Resets => limits::RESET_REFILL_FRAMES,
            _ => self.budget(),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Resets => "too many streams that came to nothing",
            Self::Pings => "too many PING frames",
            Self::Settings => "too many SETTINGS frames",
            Self::EmptyData => "too many DATA frames without a byte",
            Self::WindowUpdates => "too many WINDOW_UPDATE frames",
            Self::Other => "too many frames that get nothing done",
        }
    }
}

// === impl Floods ===

impl Floods {
    pub(super) fn new() -> Self {
        Self { left: Flood::ALL.map(Flood::budget) }
    }

    pub(super) fn spend(&mut self, flood: Flood) -> Result<(), Fault> {
        match &mut self.left[flood as usize] {
            0 => Err(Fault::calm(flood.text())),
            left => {
                *left -= 1;
                Ok(())
            }
        }
    }

    pub(super) fn give_back(&mut self, flood: Flood, frames: u32) {
        let left = &mut self.left[flood as usize];
        *left = flood.budget().min(*left + frames);
    }

    /// Time has passed: a keepalive of ours goes out.
    pub(super) fn refill(&mut self) {
        for flood in Flood::ALL {
            self.give_back(flood, flood.refill());
        }
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        self.left.iter().for_each(|left| w.u32(*left));
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut floods = Self::new();
        for (left, flood) in floods.left.iter_mut().zip(Flood::ALL) {
            // A budget that shrank between two versions holds at once.
            *left = r.u32()?.min(flood.budget());
        }
        Ok(floods)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::hbone::ErrorCode;

    #[test]
    fn every_budget_is_spent_exactly_and_comes_back() {
        for flood in Flood::ALL {
            let mut floods = Floods::new();
            for _ in 0..flood.budget() {
                assert_eq!(floods.spend(flood), Ok(()), "{flood:?}");
            }
            assert_eq!(floods.spend(flood).map_err(|fault| fault.code), Err(ErrorCode::ENHANCE_YOUR_CALM));
            floods.refill();
            for _ in 0..flood.refill() {
                assert_eq!(floods.spend(flood), Ok(()), "{flood:?}");
            }
            assert!(floods.spend(flood).is_err());
        }
    }

    #[test]
    fn no_budget_grows_above_its_size() {
        let mut floods = Floods::new();
        floods.give_back(Flood::Pings, 50);
        assert_eq!(floods, Floods::new());
    }
}
