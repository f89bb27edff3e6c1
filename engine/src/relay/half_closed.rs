//! Connections of which one side has ended, while the other says nothing and does not end.
//!
//! An application may end its side and still wait for the answer, for as long as that takes. One that has forgotten the
//! connection never ends the other side: nobody would notice, and each holds its sockets and its stream for ever.

use std::time::{Duration, Instant};

use crate::observe::Traffic;

/// How long a connection that is half closed may carry nothing. Far longer than an answer is thought about, and short
/// enough that those that were forgotten do not pile up to the limit of open files. It is looked for in each round of
/// progress, ten seconds apart.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What the log says of a connection that was ended for it.
pub(crate) const HALF_CLOSED_CAUSE: &str =
    "one side ended an hour ago, and the other has neither ended nor sent anything since";

/// Since when it is so, and what had been carried.
#[derive(Debug, Default)]
pub(crate) struct HalfClosed(Option<(Instant, Traffic)>);

// === impl HalfClosed ===

impl HalfClosed {
    /// A look at the connection: whether it is to be ended.
    pub(crate) fn is_over(&mut self, half_closed: bool, traffic: Traffic, now: Instant) -> bool {
        match self.0 {
            _ if !half_closed => {
                self.0 = None;
                false
            }
            Some((since, carried)) if carried == traffic => now.duration_since(since) >= HALF_CLOSED_TIMEOUT,
            _ => {
                self.0 = Some((now, traffic));
                false
            }
        }
    }

    /// As if it had been so since an hour before.
    #[cfg(test)]
    pub(crate) fn backdate(&mut self) {
        if let Some((since, _)) = &mut self.0 {
            *since -= HALF_CLOSED_TIMEOUT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_counts_and_only_after_the_end_of_one_side() {
        let start = Instant::now();
        let traffic = |sent| Traffic { sent, received: 0 };
        let mut watch = HalfClosed::default();
        for (minutes, half_closed, sent, over) in [
            (0, false, 1, false),
            (90, false, 1, false),
            (91, true, 1, false),
            (150, true, 1, false),
            (151, true, 1, true),
            (152, true, 2, false),
            (211, true, 2, false),
            (212, true, 2, true),
        ] {
            let now = start + Duration::from_secs(60 * minutes);
            assert_eq!(watch.is_over(half_closed, traffic(sent), now), over, "{minutes}");
        }
    }
}
