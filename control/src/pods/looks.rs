//! When it is looked whether another proxy serves a pod as well: some time after it was added, and again and again while
//! one does. A proxy that this one replaces, or that replaces it, is expected there: as long as there is one, nobody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::succession::Succession;

/// The pause before a pod is looked at again.
const LOOK_SECONDS: u64 = 5;

/// How long a pod is left in peace that was just added, and all of them when a proxy before or after this one has ended:
/// its sockets may outlive it for a moment. Those that come together are looked at together, too.
const PEACE_MS: u64 = 1_000;

/// Pods that are looked at in one go: what the reconciler waits for is a thread and two small tables for each.
const LOOKS_PER_ROUND_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Looks {
    due: BTreeMap<Arc<str>, Instant>,
    succession: Succession,
    /// Since when no proxy before or after this one has been seen.
    alone_since: Option<Instant>,
}

impl Looks {
    pub(super) fn new(succession: Succession) -> Self {
        let alone_since = succession.is_alone().then(Instant::now);
        Self { due: BTreeMap::new(), succession, alone_since }
    }

    /// The pod has just been added.
    pub(super) fn plan(&mut self, uid: &Arc<str>) {
        self.due.insert(Arc::clone(uid), Instant::now() + Duration::from_millis(PEACE_MS));
    }

    pub(super) fn forget(&mut self, uid: &str) {
        self.due.remove(uid);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    pub(super) fn is_alone(&self) -> bool {
        self.succession.is_alone()
    }

    /// The pods to look at now. They are due again later, unless they are forgotten.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let due = self.due.iter_mut().filter(|(_, at)| **at <= now);
        let again = now + Duration::from_secs(LOOK_SECONDS);
        if !self.succession.is_alone() {
            self.alone_since = None;
            due.for_each(|(_, at)| *at = again);
            return Vec::new();
        }
        let since = *self.alone_since.get_or_insert(now);
        if now.saturating_duration_since(since) < Duration::from_millis(PEACE_MS) {
            due.for_each(|(_, at)| *at = again);
            return Vec::new();
        }
        let round = due.take(LOOKS_PER_ROUND_MAX).map(|(uid, at)| {
            *at = again;
            Arc::clone(uid)
        });
        round.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::succession::Preceded;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_round_has_a_few_and_the_next_has_others() {
        let mut looks = Looks::new(Succession::default());
        for pod in 0..=LOOKS_PER_ROUND_MAX {
            looks.plan(&Arc::from(format!("pod-{pod}")));
        }
        let start = Instant::now();
        let mut seen = looks.take_due(after(start, 2));
        assert_eq!(seen.len(), LOOKS_PER_ROUND_MAX);
        seen.extend(looks.take_due(after(start, 2)));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), LOOKS_PER_ROUND_MAX + 1);
        assert!(looks.take_due(after(start, 2)).is_empty());
        assert_eq!(looks.next(), Some(after(start, 2 + LOOK_SECONDS)), "for as long as it is not forgotten");
        seen.iter().for_each(|uid| looks.forget(uid));
        assert_eq!(looks.next(), None);
    }

    #[test]
    fn what_was_added_beside_a_predecessor_is_looked_at_after_its_end() {
        let succession = Succession::default();
        let preceded = Preceded::of(&succession);
        let mut looks = Looks::new(succession);
        looks.plan(&Arc::from("pod"));
        let start = Instant::now();
        assert!(looks.take_due(after(start, 10)).is_empty());
        assert_eq!(looks.next(), Some(after(start, 10 + LOOK_SECONDS)));
        drop(preceded);
        assert!(looks.take_due(after(start, 20)).is_empty(), "its sockets may outlive it");
        assert_eq!(looks.take_due(after(start, 30)).len(), 1);
    }
}
