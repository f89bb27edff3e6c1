//! How many shards run: ztunnel's rule for its worker threads, as a pure function.
//!
//! In order: `ZTUNNEL_WORKER_THREADS` (a number, 0 for all cores, or a percentage of the cores we are given); the
//! proxy config's `concurrency`; the CPU limit of the pod, but no less than its request; else a quarter of the
//! cores, no less than the request and no less than two.

use super::value::millicores;

/// The fewest workers when nobody says how many: one busy connection must not be all the node has.
const WORKERS_DEFAULT_MIN: u64 = 2;

/// The most shards we start: each costs a thread, a ring and its buffers.
pub(super) const WORKERS_MAX: u64 = 256;

/// What the number of workers is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerRule<'v> {
    /// `ZTUNNEL_WORKER_THREADS`.
    pub threads: Option<&'v str>,
    /// `concurrency` of the proxy config.
    pub concurrency: Option<u32>,
    /// `ZTUNNEL_RESOURCE_CPU_LIMIT` in thousandths of a core.
    pub limit: Option<u64>,
    /// `ZTUNNEL_RESOURCE_CPU_REQUEST` in thousandths of a core.
    pub request: Option<u64>,
    /// `ZTUNNEL_CPU_LIMIT` in thousandths of a core.
    pub cpu_limit: Option<u64>,
    /// Cores of the affinity mask.
    pub cores: usize,
}

/// What a rule comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many are started.
    pub count: usize,
    /// How many the cores or limits would give: more than `count` where that is too many.
    pub derived: u64,
}

impl WorkerRule<'_> {
    /// The number of workers, or what the variable that decides may be. Only a number that somebody wrote is refused:
    /// a large machine is nobody's mistake.
    pub fn workers(&self) -> Result<Workers, String> {
        let workers = match (self.threads, self.concurrency, self.limit) {
            (Some(threads), _, _) => self.set(threads)?,
            (None, Some(0), _) => self.all_cores(),
            (None, Some(concurrency), _) => named(concurrency.into())?,
            (None, None, Some(limit)) => round_up(limit).max(self.requested()).max(1),
            (None, None, None) => self.cpus().div_ceil(4).max(self.requested()).max(WORKERS_DEFAULT_MIN),
        };
        let count = usize::try_from(workers.min(WORKERS_MAX)).expect("invariant: at most WORKERS_MAX");
        Ok(Workers { count, derived: workers })
    }

    fn set(&self, threads: &str) -> Result<u64, String> {
        let refusal =
            || "must be a number of workers (0 for all cores) or a percentage such as 50%".to_owned();
        let Some(percentage) = threads.strip_suffix('%') else {
            return match threads.parse().map_err(|_| refusal())? {
                0 => Ok(self.all_cores()),
                workers => named(workers),
            };
        };
        // A percentage has the syntax of a quantity: digits and a decimal point; thousandths of a percent are exact.
        let thousandths = millicores(percentage).map_err(|_| refusal())?;
        if percentage.ends_with('m') || !(1..=100_000).contains(&thousandths) {
            return Err("a percentage must be above 0% and at most 100%".to_owned());
        }
        Ok(self.cpus().saturating_mul(thousandths).div_ceil(100_000).max(1))
    }

    fn all_cores(&self) -> u64 {
        (self.cores as u64).max(1)
    }

    /// The cores that a share is taken of.
    fn cpus(&self) -> u64 {
        self.limit.or(self.cpu_limit).map_or_else(|| self.all_cores(), round_up).max(1)
    }

    fn requested(&self) -> u64 {
        self.request.map_or(0, round_up)
    }
}

/// A number that somebody wrote.
fn named(workers: u64) -> Result<u64, String> {
    if workers > WORKERS_MAX {
        return Err(format!("asks for {workers} workers; at most {WORKERS_MAX} are started"));
    }
    Ok(workers)
}

fn round_up(thousandths: u64) -> u64 {
    thousandths.div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(cores: usize) -> WorkerRule<'static> {
        WorkerRule { cores, ..WorkerRule::default() }
    }

    #[test]
    fn the_rule_as_a_table() {
        let limited = |limit, request, cores| WorkerRule { limit, request, ..rule(cores) };
        for (case, rule, workers) in [
            // nobody says anything: a quarter of the cores, at least two
            ("one core", rule(1), 2),
            ("two cores", rule(2), 2),
            ("eight cores", rule(8), 2),
            ("nine cores", rule(9), 3),
            ("64 cores", rule(64), 16),
            ("an unreadable mask", rule(0), 2),
            // the request lifts it
            ("request 3.5", limited(None, Some(3_500), 8), 4),
            ("request 200m", limited(None, Some(200), 8), 2),
            // the pod's limit decides, but no less than its request
            ("limit 4", limited(Some(4_000), None, 64), 4),
            ("limit 500m", limited(Some(500), None, 64), 1),
            ("limit 1, request 3", limited(Some(1_000), Some(3_000), 64), 3),
            ("limit 0", limited(Some(0), None, 64), 1),
            // the downward API's limit only takes the place of the cores
            ("cpu limit 12 of 64", WorkerRule { cpu_limit: Some(12_000), ..rule(64) }, 3),
            // concurrency before the limit
            ("concurrency 6", WorkerRule { concurrency: Some(6), ..limited(Some(2_000), None, 64) }, 6),
            ("concurrency 0", WorkerRule { concurrency: Some(0), ..limited(Some(2_000), None, 64) }, 64),
            // the explicit number before all
            ("threads 5", WorkerRule { threads: Some("5"), concurrency: Some(6), ..rule(64) }, 5),
            ("threads 0", WorkerRule { threads: Some("0"), ..limited(Some(2_000), None, 64) }, 64),
            ("threads 50%", WorkerRule { threads: Some("50%"), ..rule(9) }, 5),
            ("threads 1%", WorkerRule { threads: Some("1%"), ..rule(4) }, 1),
            ("threads 12.5%", WorkerRule { threads: Some("12.5%"), ..rule(64) }, 8),
            ("threads 100%", WorkerRule { threads: Some("100%"), ..rule(64) }, 64),
            (
                "threads 50% of limit 4",
                WorkerRule { threads: Some("50%"), ..limited(Some(4_000), None, 64) },
                2,
            ),
            (
                "threads 50%, limit before cpu limit",
                WorkerRule { threads: Some("50%"), cpu_limit: Some(8_000), ..limited(Some(4_000), None, 64) },
                2,
            ),
        ] {
            assert_eq!(rule.workers().map(|workers| workers.count), Ok(workers), "{case}");
        }
    }

    #[test]
    fn what_cores_and_limits_give_is_cut_to_what_is_started() {
        let limited = |limit| WorkerRule { limit: Some(limit), ..rule(64) };
        for (rule, derived) in [
            (WorkerRule { threads: Some("0"), ..rule(384) }, 384),
            (WorkerRule { threads: Some("75%"), ..rule(384) }, 288),
            (WorkerRule { concurrency: Some(0), ..rule(384) }, 384),
            (limited(300_000), 300),
            (rule(2_048), 512),
            (rule(8), 2),
        ] {
            let count = derived.min(256);
            assert_eq!(rule.workers(), Ok(Workers { count, derived: derived as u64 }), "{rule:?}");
        }
        let whole = WorkerRule { threads: Some("100%"), ..limited(u64::MAX) };
        assert_eq!(whole.workers().map(|workers| workers.count), Ok(256));
        assert!(WorkerRule { concurrency: Some(257), ..rule(384) }.workers().is_err());
    }

    #[test]
    fn what_is_no_number_of_workers() {
        for threads in
            ["", "two", "-1", "1.5", "%", "0%", "101%", "-5%", "500m%", "5 %", "257", "99999999999"]
        {
            let rule = WorkerRule { threads: Some(threads), ..rule(64) };
            assert!(rule.workers().is_err(), "{threads}");
        }
    }
}
