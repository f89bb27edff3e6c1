//! The turns of shards, as their metrics tell of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use testkit::lab::Node;

const BUCKET: &str = "ringway_shard_turn_seconds_bucket{";

/// A histogram of the turns of several shards: by upper bound in seconds, how many were at most so long, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turns(Vec<(f64, u64)>);

impl Turns {
    /// Of all shards of the proxies of these nodes, since they started.
    pub(super) fn of(nodes: &[Arc<Node>]) -> Result<Self> {
        let mut all = Self::default();
        for node in nodes {
            all.add(&node.netns.run("curl --silent --fail http://127.0.0.1:15020/metrics")?)?;
        }
        Ok(all)
    }

    fn add(&mut self, metrics: &str) -> Result<()> {
        for line in metrics.lines().filter_map(|line| line.strip_prefix(BUCKET)) {
            let (bound, count) = bucket(line).with_context(|| format!("the metric {BUCKET}{line}"))?;
            match self.0.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, turns)) => *turns += count,
                None => self.0.push((bound, count)),
            }
        }
        self.0.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Ok(())
    }

    /// Those that `earlier` does not have yet.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let of =
            |bound: f64| earlier.0.iter().find(|(known, _)| *known == bound).map_or(0, |(_, turns)| *turns);
        Self(self.0.iter().map(|&(bound, turns)| (bound, turns.saturating_sub(of(bound)))).collect())
    }

    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, turns)| *turns)
    }

    /// The upper bound of the longest, in seconds; infinite beyond the last bucket, zero where there was none.
    pub(super) fn longest(&self) -> f64 {
        let all = self.count();
        self.0.iter().find(|(_, turns)| all > 0 && *turns == all).map_or(0.0, |(bound, _)| *bound)
    }

    /// How many took longer than `seconds`, for which there must be a bucket that ends at or below.
    pub(super) fn longer_than(&self, seconds: f64) -> u64 {
        let within = self.0.iter().filter(|(bound, _)| *bound <= seconds).map(|(_, turns)| *turns).max();
        self.count() - within.unwrap_or_default()
    }
}

/// Of `shard="0",le="0.001"} 7`, the bound and the count.
fn bucket(line: &str) -> Option<(f64, u64)> {
    let (labels, count) = line.split_once("} ")?;
    let bound = labels.split_once("le=\"")?.1.strip_suffix('"')?;
    Some((bound.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn turns(texts: &[&str]) -> Turns {
        let mut turns = Turns::default();
        for text in texts {
            turns.add(text).unwrap();
        }
        turns
    }

    const EARLIER: &str = "# HELP ringway_shard_turn_seconds How long\n\
        ringway_shard_turn_seconds_sum{shard=\"0\"} 3.5\n\
        ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"0.000512\"} 10\n\
        ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"0.001024\"} 10\n\
        ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"+Inf\"} 11\n";
    const LATER: &str = "ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"0.000512\"} 14\n\
        ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"0.001024\"} 16\n\
        ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"+Inf\"} 17\n";

    #[test]
    fn the_longest_is_that_of_the_time_between() {
        let (earlier, later) = (turns(&[EARLIER]), turns(&[LATER]));
        assert_eq!(earlier.longest(), f64::INFINITY);
        let between = later.since(&earlier);
        assert_eq!((between.count(), between.longest()), (6, 0.001_024));
        assert_eq!(later.since(&later).longest(), 0.0, "nothing happened");
    }

    #[test]
    fn shards_and_proxies_are_added_up() {
        let all = turns(&[EARLIER, EARLIER]);
        assert_eq!(all.count(), 22);
        assert_eq!([all.longer_than(0.001_024), all.longer_than(0.000_512)], [2, 2]);
        assert_eq!(turns(&[LATER]).longer_than(0.000_6), 3);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told() {
        let broken = "ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"x\"} 1";
        assert!(Turns::default().add(broken).is_err());
    }
}
