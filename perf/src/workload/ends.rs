//! Our own load generators at both ends of a pair of pods, and what they counted as figures.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Stage, Volume};
use crate::agent::Agent;
use crate::interrupt;
use crate::measure::Window;
use crate::protocol::{Errand, Latency, Load, Request, Tally};

/// Of less there is no CPU per byte: a stream that stands gives what lies in buffers, and the tick of the clock that counts
/// CPU would be seconds for each GB.
const MOVED_BYTES_MIN: u64 = 1_000_000;

/// The generators of a pair.
#[derive(Debug)]
pub(super) struct Ends {
    client: Agent,
    server: Agent,
    dial: Ipv4Addr,
}

impl Ends {
    /// Starts both; the server listens.
    pub(super) fn start(stage: &Stage<'_>, window: &mut Window<'_>, pair: usize) -> Result<Self> {
        let (client, server, dial) = stage.pair(pair);
        let (mut server, client) = (Agent::start(&server.place())?, Agent::start(&client.place())?);
        window.generators([server.pid(), client.pid()]);
        server.tell(&Request::Listen)?;
        Ok(Self { client, server, dial })
    }

    /// Begins a load beside those that run.
    pub(super) fn load(&mut self, load: Load) -> Result<()> {
        self.client.tell(&Request::Start { load, server: self.dial })
    }

    /// Runs something to its end.
    pub(super) fn run(&mut self, errand: Errand) -> Result<()> {
        self.client.tell(&Request::Run { errand, server: self.dial })
    }

    /// Both begin to count.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.server.tell(&Request::Begin)?;
        self.client.tell(&Request::Begin)
    }

    /// What both counted.
    pub(super) fn end(&mut self) -> Result<Tally> {
        let (at_client, at_server) = (self.client.end()?, self.server.end()?);
        Ok(Tally { received_bytes: at_client.received_bytes + at_server.received_bytes, ..at_client })
    }
}

/// Runs loads, each in the pair of this number, one after the other has warmed up, all of them for the window. What all
/// of them counted; latencies are told of one load at most.
pub(super) fn play(stage: &Stage<'_>, window: &mut Window<'_>, loads: &[(usize, Load)]) -> Result<Tally> {
    let mut ends: BTreeMap<usize, Ends> = BTreeMap::new();
    for &(pair, load) in loads {
        let of_pair = match ends.entry(pair) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Ends::start(stage, window, pair)?),
        };
        of_pair.load(load)?;
        warm_up(stage)?;
    }
    window.open()?;
    ends.values_mut().try_for_each(Ends::begin)?;
    interrupt::sleep(Duration::from_secs_f64(stage.seconds))?;
    let tallies = ends.values_mut().map(Ends::end).collect::<Result<Vec<_>>>()?;
    window.close()?;
    Ok(tallies.into_iter().reduce(both).unwrap_or_default())
}

/// What two pairs counted in the same time.
fn both(one: Tally, other: Tally) -> Tally {
    Tally {
        seconds: one.seconds,
        received_bytes: one.received_bytes + other.received_bytes,
        exchanges: one.exchanges + other.exchanges,
        failures: one.failures + other.failures,
        latency: one.latency.or(other.latency),
    }
}

pub(super) fn warm_up(stage: &Stage<'_>) -> Result<()> {
    interrupt::sleep(Duration::from_secs_f64(stage.warm_up_seconds))
}

/// What messages of so many bytes each way came to, without their latency.
pub(super) fn operations(tally: &Tally, bytes: usize) -> Outcome {
    Outcome {
        volume: Volume::Operations(tally.exchanges as f64),
        payload_bytes: tally.exchanges * 2 * bytes as u64,
        figures: BTreeMap::from([("rate_per_s", tally.exchanges as f64 / tally.seconds)]),
        curve: Vec::new(),
    }
}

/// What bulk streams came to.
pub(super) fn throughput(tally: &Tally) -> Outcome {
    let gbps = tally.received_bytes as f64 * 8.0 / 1e9 / tally.seconds;
    let stood_still = tally.received_bytes < MOVED_BYTES_MIN;
    let volume = if stood_still { Volume::Unclear } else { Volume::Bytes(tally.received_bytes as f64) };
    Outcome {
        volume,
        payload_bytes: tally.received_bytes,
        figures: BTreeMap::from([("throughput_gbps", gbps)]),
        curve: Vec::new(),
    }
}

impl Outcome {
    /// The same with these latencies.
    pub(super) fn with_latency(mut self, latency: Option<Latency>) -> Self {
        let Some(latency) = latency else { return self };
        self.figures.extend([
            ("latency_mean_us", latency.mean_us),
            ("latency_p50_us", latency.p50_us),
            ("latency_p90_us", latency.p90_us),
            ("latency_p99_us", latency.p99_us),
            ("latency_max_us", latency.max_us),
        ]);
        self.figures.extend(latency.p99_9_us.map(|us| ("latency_p99_9_us", us)));
        self.figures.extend(latency.p99_99_us.map(|us| ("latency_p99_99_us", us)));
        self.curve = latency.curve;
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Point, figure};

    #[test]
    fn pairs_are_added_up() {
        let latency = Latency { p50_us: 7.0, ..Latency::default() };
        let ping = Tally { seconds: 2.0, exchanges: 100, latency: Some(latency), ..Tally::default() };
        let bulk = Tally { seconds: 2.1, received_bytes: 1_000_000_000, ..Tally::default() };
        for tally in [both(ping.clone(), bulk.clone()), both(bulk, ping)] {
            assert_eq!((tally.exchanges, tally.received_bytes), (100, 1_000_000_000));
            assert_eq!(tally.latency.unwrap().p50_us, 7.0);
        }
    }

    #[test]
    fn figures_are_those_of_the_table() {
        let curve = vec![Point { quantile: 0.5, us: 7.0 }];
        let latency = Latency { p99_9_us: Some(9.0), p99_99_us: Some(10.0), curve, ..Latency::default() };
        let tally = Tally { seconds: 2.0, exchanges: 100, latency: Some(latency), ..Tally::default() };
        let outcome = operations(&tally, 64).with_latency(tally.latency.clone());
        assert_eq!((outcome.figures["rate_per_s"], outcome.payload_bytes), (50.0, 12_800));
        assert!(outcome.figures.keys().all(|key| figure::of(key).is_some()), "{outcome:?}");
        assert_eq!((outcome.figures.len(), outcome.curve.len()), (8, 1));
    }

    #[test]
    fn a_stream_that_stood_still_has_no_cpu_per_byte() {
        let tally = Tally { seconds: 2.0, received_bytes: 1_000_000_000, ..Tally::default() };
        assert_eq!(throughput(&tally).figures["throughput_gbps"], 4.0);
        assert_eq!(throughput(&tally).volume, Volume::Bytes(1e9));
        let still = throughput(&Tally { seconds: 2.0, ..Tally::default() });
        assert_eq!((still.figures["throughput_gbps"], still.volume), (0.0, Volume::Unclear));
        let hardly = throughput(&Tally { seconds: 1.0, received_bytes: 45_000, ..Tally::default() });
        assert_eq!((hardly.figures["throughput_gbps"], hardly.volume), (0.000_36, Volume::Unclear));
    }
}
