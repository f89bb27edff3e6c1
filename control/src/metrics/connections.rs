//! Counters of connections, one series for each pair of workloads.
//!
//! Series come and go with what they count: one without an open connection that has not changed for a while is
//! forgotten, so that the names of pods long gone do not fill a scrape. There is room for so many; what finds none is
//! counted in a series whose names are `unknown`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::observe::{Closed, Connection, ConnectionId, Direction, Observation, ResponseFlag, Traffic};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use super::labels::{Labels, reporter};

/// How often a table that is full is looked through for what can be forgotten.
const SWEEP_SECONDS: u64 = 1;

/// How many series there may be, and for how long (`RINGWAY_METRICS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    pub series: usize,
    /// A series that has not changed for so long, and has no open connection, is forgotten.
    pub idle: Duration,
}

/// Shared by who counts and who scrapes. Outlives a run of the control thread.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    limits: SeriesLimits,
    series: HashMap<Arc<Labels>, Series>,
    /// Of connections that stand, by reporter.
    open: Open,
    /// Handshakes refused because a certificate was revoked, by reporter.
    revoked: Open,
    /// Observations that found no room for a series of their own.
    overflowed: u64,
    /// Connections that found none, for as long as they are open: their bytes and their end belong where they began.
    nameless: HashSet<ConnectionId>,
    swept: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    opened: u64,
    closed: u64,
    failed: u64,
    traffic: Traffic,
    /// Connections that stand.
    open: u64,
    changed: Instant,
}

/// A count for each direction.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    outbound: u64,
    inbound: u64,
}

/// A copy to be written down.
#[derive(Debug)]
pub(super) struct Scrape {
    series: Vec<(Arc<Labels>, Series)>,
    open: Open,
    revoked: Open,
    overflowed: u64,
}

// === impl Connections ===

impl Connections {
    pub(crate) fn new(limits: SeriesLimits) -> Self {
        Self(Arc::new(Mutex::new(Table {
            limits,
            series: HashMap::new(),
            open: Open::default(),
            revoked: Open::default(),
            overflowed: 0,
            nameless: HashSet::new(),
            swept: Instant::now(),
        })))
    }

    pub(crate) fn count(&self, observation: &Observation, now: Instant) {
        self.lock().count(observation, now);
    }

    /// Some observations were lost: in which series connections are open is not known any more. None is forgotten before
    /// it was idle from now on, whatever may be open in it. The sum stays what it was until somebody has counted.
    pub(crate) fn distrust_open(&self, now: Instant) {
        let mut table = self.lock();
        table.nameless.clear();
        for series in table.series.values_mut() {
            (series.open, series.changed) = (0, now);
        }
    }

    /// Somebody has counted what is open.
    pub(crate) fn set_open(&self, outbound: u64, inbound: u64) {
        self.lock().open = Open { outbound, inbound };
    }

    /// Outbound and inbound.
    #[cfg(test)]
    pub(crate) fn open(&self) -> (u64, u64) {
        let open = self.lock().open;
        (open.outbound, open.inbound)
    }

    pub(super) fn collect(&self, now: Instant) -> Scrape {
        let mut table = self.lock();
        table.sweep(now);
        Scrape {
            series: table.series.iter().map(|(labels, series)| (Arc::clone(labels), *series)).collect(),
            open: table.open,
            revoked: table.revoked,
            overflowed: table.overflowed,
        }
    }

    /// Every change is whole before the next observation is looked at; a panic in between miscounts one of them.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    fn count(&mut self, observation: &Observation, now: Instant) {
        match observation {
            Observation::Opened(connection) => {
                *self.open.of(connection.direction) += 1;
                let series = self.series_of(connection, ResponseFlag::None, now);
                series.opened += 1;
                series.open += 1;
            }
            Observation::Progress { connection, traffic } => {
                self.series_of(connection, ResponseFlag::None, now).carry(*traffic);
            }
            Observation::Closed(closed) => self.close(closed, now),
        }
    }

    /// Bytes belong to the series that the connection was opened in, its end to that of the flag it ended with.
    fn close(&mut self, closed: &Closed, now: Instant) {
        let connection = &*closed.connection;
        if closed.flag == ResponseFlag::CertRevoked {
            *self.revoked.of(connection.direction) += 1;
        }
        if closed.refused {
            return;
        }
        let series = self.series_of(connection, ResponseFlag::None, now);
        if closed.stood {
            series.open = series.open.saturating_sub(1);
            series.carry(closed.unreported);
            let open = self.open.of(connection.direction);
            *open = open.saturating_sub(1);
        } else {
            series.opened += 1;
        }
        let series = self.series_of(connection, closed.flag, now);
        series.closed += 1;
        if !closed.stood || closed.flag != ResponseFlag::None {
            series.failed += 1;
        }
        self.nameless.remove(&connection.id);
    }

    fn series_of(&mut self, connection: &Connection, flag: ResponseFlag, now: Instant) -> &mut Series {
        let mut labels = Labels::of(connection, flag);
        let named = !self.nameless.contains(&connection.id)
            && (self.series.contains_key(&labels) || self.has_room(now));
        if !named {
            self.overflowed += 1;
            self.nameless.insert(connection.id);
            labels = labels.without_names();
        }
        let series = self.series.entry(Arc::new(labels)).or_insert_with(|| Series::new(now));
        series.changed = now;
        series
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.series.len() < self.limits.series {
            return true;
        }
        if now.duration_since(self.swept) < Duration::from_secs(SWEEP_SECONDS) {
            return false;
        }
        self.sweep(now);
        self.series.len() < self.limits.series
    }

    fn sweep(&mut self, now: Instant) {
        let idle = self.limits.idle;
        self.series.retain(|_, series| series.open > 0 || now.duration_since(series.changed) < idle);
        self.swept = now;
    }
}

// === impl Series ===

impl Series {
    fn new(now: Instant) -> Self {
        Self { opened: 0, closed: 0, failed: 0, traffic: Traffic::default(), open: 0, changed: now }
    }

    fn carry(&mut self, traffic: Traffic) {
        self.traffic.sent += traffic.sent;
        self.traffic.received += traffic.received;
    }
}

// === impl Open ===

impl Open {
    fn of(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Outbound => &mut self.outbound,
            Direction::Inbound => &mut self.inbound,
        }
    }

    fn by_reporter(self) -> [([(&'static str, &'static str); 1], u64); 2] {
        [(Direction::Outbound, self.outbound), (Direction::Inbound, self.inbound)]
            .map(|(direction, count)| ([("reporter", reporter(direction))], count))
    }
}

// === impl Scrape ===

impl Scrape {
    /// The series that have opened a connection, or did something else that `value` tells of.
    fn values(&self, value: impl Fn(&Series) -> Option<u64>) -> impl Iterator<Item = (Shared<'_>, u64)> {
        self.series.iter().filter_map(move |(labels, series)| Some((Shared(labels), value(series)?)))
    }
}

impl Collector for Scrape {
    /// Sent and received are Istio's words: the server sends, in its response, and receives requests.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        let if_opened = |series: &Series, value| (series.opened > 0).then_some(value);
        exposition.counters(
            "istio_tcp_connections_opened",
            "TCP connections opened",
            self.values(|series| if_opened(series, series.opened)),
        )?;
        exposition.counters(
            "istio_tcp_connections_closed",
            "TCP connections closed",
            self.values(|series| Some(series.closed).filter(|count| *count > 0)),
        )?;
        exposition.counters(
            "istio_tcp_connections_failed",
            "TCP connections that never stood, or were ended by a policy",
            self.values(|series| Some(series.failed).filter(|count| *count > 0)),
        )?;
        exposition.counters(
            "istio_tcp_received_bytes",
            "Bytes that servers received in TCP connections",
            self.values(|series| if_opened(series, series.traffic.sent)),
        )?;
        exposition.counters(
            "istio_tcp_sent_bytes",
            "Bytes that servers sent in TCP connections",
            self.values(|series| if_opened(series, series.traffic.received)),
        )?;
        exposition.gauges("istio_tcp_sockets_open", "Connections open now", self.open.by_reporter())?;
        exposition.counters(
            "istio_crl_policy_rejections",
            "Handshakes refused because a certificate was revoked",
            self.revoked.by_reporter(),
        )?;
        exposition.gauge(
            "ringway_metrics_series",
            "Sets of labels that connections are counted by",
            self.series.len() as u64,
        )?;
        exposition.counter(
            "ringway_metrics_series_overflowed",
            "Observations counted without names, for want of room (RINGWAY_METRICS_SERIES_MAX)",
            self.overflowed,
        )
    }
}

/// Labels that several metrics use.
struct Shared<'s>(&'s Labels);

impl prometheus_client::encoding::EncodeLabelSet for Shared<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

#[cfg(test)]
mod tests;
