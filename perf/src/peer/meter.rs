//! What a generator counts between the beginning and the end of the measured window.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use crate::protocol::{Latency, Tally};
use crate::record::Point;

/// Longer exchanges are counted as this long.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// The points of a curve within each power of ten, as what is left of it: 1 is p0, p90, p99 and so on.
const CURVE_STEPS: [f64; 10] = [1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12];
/// Up to p99.99.
const CURVE_DECADES: i32 = 4;

/// Counters that the threads of a generator share.
#[derive(Debug, Default)]
pub(super) struct Meter {
    received_bytes: AtomicU64,
    failures: AtomicU64,
    /// Hardly ever contended: one thread records, or a few thousand times a second several.
    exchanges: Mutex<Exchanges>,
    began: Mutex<Option<Instant>>,
    failure: Mutex<Option<String>>,
}

/// How long exchanges took, in nanoseconds.
#[derive(Debug)]
struct Exchanges {
    /// Each weighs the same.
    by_count: Histogram<u64>,
    /// Each weighs as much as it lasted. While one stands still no other one happens on that connection, so counting
    /// alone hides a standstill behind the many that were quick.
    by_time: Histogram<u64>,
}

impl Default for Exchanges {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3);
        let histogram = histogram.expect("invariant: bounds and digits are constants it allows");
        Self { by_count: histogram.clone(), by_time: histogram }
    }
}

impl Exchanges {
    fn add(&mut self, took: Duration) {
        let nanos = took.as_nanos() as u64;
        self.by_count.saturating_record(nanos);
        self.by_time.saturating_record_n(nanos, nanos);
    }

    fn reset(&mut self) {
        self.by_count.reset();
        self.by_time.reset();
    }

    /// `None` of nothing.
    fn latency(&self) -> Option<Latency> {
        let at = |quantile| self.by_count.value_at_quantile(quantile) as f64 / 1e3;
        let deep = |quantile| self.reaches(quantile).then(|| at(quantile));
        (!self.by_count.is_empty()).then(|| Latency {
            mean_us: self.by_count.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: deep(0.999),
            p99_99_us: deep(0.9999),
            max_us: self.by_count.max() as f64 / 1e3,
            p50_by_time_us: self.by_time.value_at_quantile(0.5) as f64 / 1e3,
            curve: curve_quantiles()
                .filter(|&quantile| self.reaches(quantile))
                .map(|quantile| Point { quantile, us: at(quantile) })
                .collect(),
        })
    }

    /// Whether at least one exchange of these took longer than this quantile.
    fn reaches(&self, quantile: f64) -> bool {
        // 1 - 0.999 is a little more than a thousandth.
        (1.0 - quantile) * self.by_count.len() as f64 > 1.0 - 1e-6
    }
}

fn curve_quantiles() -> impl Iterator<Item = f64> {
    let decades = (0..CURVE_DECADES).map(|decade| 0.1_f64.powi(decade));
    let within = decades.flat_map(|decade| CURVE_STEPS.iter().map(move |step| 1.0 - step * decade));
    within.chain([1.0 - 0.1_f64.powi(CURVE_DECADES)])
}

impl Meter {
    pub(super) fn add_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_exchange(&self, took: Duration) {
        lock(&self.exchanges).add(took);
    }

    /// One of many exchanges came to nothing, which is a result.
    pub(super) fn add_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A load has ended by an error: the first one is told.
    pub(super) fn fail(&self, message: String) {
        lock(&self.failure).get_or_insert(message);
    }

    /// The window begins.
    pub(super) fn begin(&self) {
        let mut began = lock(&self.began);
        lock(&self.exchanges).reset();
        self.received_bytes.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        *began = Some(Instant::now());
    }

    /// The window ends.
    pub(super) fn end(&self) -> Result<Tally> {
        let began = lock(&self.began).take().context("the window ends that never began")?;
        let seconds = began.elapsed().as_secs_f64();
        let received_bytes = self.received_bytes.load(Ordering::Relaxed);
        let exchanges = lock(&self.exchanges);
        if let Some(failure) = &*lock(&self.failure) {
            bail!("{failure}");
        }
        Ok(Tally {
            seconds,
            received_bytes,
            exchanges: exchanges.by_count.len(),
            failures: self.failures.load(Ordering::Relaxed),
            latency: exchanges.latency(),
        })
    }

    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn counted_exchanges(&self) -> u64 {
        lock(&self.exchanges).by_count.len()
    }
}

/// Nothing here is left half done by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_happened_in_the_window_is_told() {
        let meter = Meter::default();
        meter.add_received(1000);
        meter.add_exchange(Duration::from_secs(9));
        meter.begin();
        meter.add_received(7);
        for micros in 1..=100 {
            meter.add_exchange(Duration::from_micros(micros));
        }
        let tally = meter.end().unwrap();
        assert_eq!((tally.received_bytes, tally.exchanges), (7, 100));
        let latency = tally.latency.unwrap();
        for (found, expected) in [(latency.p50_us, 50.0), (latency.p99_us, 99.0), (latency.max_us, 100.0)] {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} for {expected}");
        }
    }

    #[test]
    fn the_curve_ends_where_there_were_no_exchanges_to_tell() {
        for (count, last, deepest) in [(1, 0.0, None), (500, 0.998, None), (1000, 0.999, Some(999.0))] {
            let meter = Meter::default();
            meter.begin();
            (1..=count).for_each(|micros| meter.add_exchange(Duration::from_micros(micros)));
            let latency = meter.end().unwrap().latency.unwrap();
            assert!((latency.curve.last().unwrap().quantile - last).abs() < 1e-9, "{latency:?}");
            assert!(latency.curve.is_sorted_by(|a, b| a.quantile < b.quantile && a.us <= b.us));
            assert_eq!(latency.p99_9_us.map(f64::round), deepest, "{latency:?}");
        }
        assert_eq!(curve_quantiles().last(), Some(0.9999));
    }

    #[test]
    fn a_standstill_shows_by_time() {
        let meter = Meter::default();
        meter.begin();
        (0..900).for_each(|_| meter.add_exchange(Duration::from_micros(100)));
        (0..10).for_each(|_| meter.add_exchange(Duration::from_millis(20)));
        let latency = meter.end().unwrap().latency.unwrap();
        assert!((latency.p50_us / 100.0 - 1.0).abs() < 0.002, "{latency:?}");
        assert!((latency.p50_by_time_us / 20_000.0 - 1.0).abs() < 0.002, "{latency:?}");
    }

    #[test]
    fn a_failed_load_and_a_window_that_never_began_are_errors() {
        let meter = Meter::default();
        assert!(meter.end().is_err());
        meter.begin();
        meter.fail("sending: broken".to_owned());
        meter.fail("another".to_owned());
        assert_eq!(meter.end().unwrap_err().to_string(), "sending: broken");
    }

    #[test]
    fn an_empty_window_has_no_latency_and_a_very_long_exchange_counts() {
        let meter = Meter::default();
        meter.begin();
        assert_eq!(meter.end().unwrap().latency, None);
        meter.begin();
        meter.add_exchange(LATENCY_MAX * 10);
        assert_eq!(meter.end().unwrap().exchanges, 1);
    }
}
