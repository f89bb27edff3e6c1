//! Clocks of the CPU: what a process used, what the whole machine used, and which cores we may use.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// User and system time of a process so far, all its threads included. The kernel knows their sum exactly and splits it
/// by what its clock ticks met.
pub(crate) fn of_process(pid: u32) -> Result<(Duration, Duration)> {
    let place = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&place).with_context(|| place.clone())?;
    let (user, system) = ticks_of_process(&stat).with_context(|| place.clone())?;
    Ok((duration(user)?, duration(system)?))
}

/// User and system time of all children that ended and were waited for, and of theirs.
pub(crate) fn of_ended_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let times = [usage.user_time(), usage.system_time()];
    let micros: i64 = times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// proc(5): the name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
fn ticks_of_process(stat: &str) -> Result<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    ensure!(fields.len() > 13, "too few fields: {stat:?}");
    Ok((fields[11].parse()?, fields[12].parse()?))
}

/// What all cores did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// User and system time of all processes. Interrupts are apart: much of what they do is our own packets.
    pub(crate) processes: Duration,
    /// Time in which the hypervisor ran somebody else though a core of ours was ready.
    pub(crate) stolen: Duration,
}

impl Machine {
    pub(crate) fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let (processes, stolen) = ticks_of_machine(&stat).context("/proc/stat")?;
        Ok(Self { processes: duration(processes)?, stolen: duration(stolen)? })
    }
}

/// proc(5): `cpu user nice system idle iowait irq softirq steal …`.
fn ticks_of_machine(stat: &str) -> Result<(u64, u64)> {
    let line =
        stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no line of all cores")?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() >= 8, "too few fields: {line:?}");
    Ok((ticks[0] + ticks[1] + ticks[2], ticks[7]))
}

fn duration(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
    Ok(Duration::from_secs(1).mul_f64(ticks as f64 / per_second as f64))
}

/// The cores this process and what it starts may use.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking for our cores")?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// Keeps this process and what it starts on `cores`.
pub(crate) fn restrict(cores: &[usize]) -> Result<()> {
    let allowed = allowed()?;
    if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
        bail!("core {core} is not one that this process may use: --cores takes from {allowed:?}");
    }
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).with_context(|| format!("core {core}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("staying on cores {cores:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn process_ticks_are_found_behind_any_name() {
        let fields = "S 1 1 1 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 4 0 123 456 789";
        for name in ["ringway", "a b", "a) b (c"] {
            let ticks = ticks_of_process(&format!("42 ({name}) {fields}")).unwrap();
            assert_eq!(ticks, (250, 50), "{name}");
        }
        for broken in ["", "42 (x", "42 (x) S 1 1"] {
            assert!(ticks_of_process(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn machine_ticks_leave_interrupts_out() {
        let stat = "cpu  100 20 3 9999 88 77 66 5 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(ticks_of_machine(stat).unwrap(), (123, 5));
        assert!(ticks_of_machine("intr 5\n").is_err());
    }

    #[test]
    fn a_core_that_there_is_not_is_named_with_those_there_are() {
        let error = format!("{:#}", restrict(&[1_000_000]).unwrap_err());
        assert!(error.starts_with("core 1000000 is not one that this process may use"), "{error}");
    }

    #[test]
    fn our_own_clocks_can_be_read() {
        let (user, system) = of_process(std::process::id()).unwrap();
        assert!(Machine::read().unwrap().processes >= user + system);
        of_ended_children().unwrap();
        assert!(!allowed().unwrap().is_empty());
    }
}
