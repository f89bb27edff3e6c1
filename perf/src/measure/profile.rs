//! Where the time of a target's processes goes: its functions by their share, from a window that nothing else is taken
//! from.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::run::Run as TestRun;
use testkit::shell;

use super::attached::Attached;
use super::{Order, Stand, drive, start_all};
use crate::workload::Workload;

/// Samples a second and thread: no multiple of anything that happens regularly.
const FREQUENCY_HZ: &str = "997";

/// The share of the time by function, user and kernel.
pub(crate) type Profile = BTreeMap<String, f64>;

/// One workload once through every target; by target.
pub(crate) fn of(order: &Order, workload: &Workload) -> Result<BTreeMap<String, Profile>> {
    let stands = start_all(order, 0)?;
    let take = |stand: &Stand<'_>| Ok((stand.target.name().to_owned(), take(order, stand, workload)?));
    stands.iter().map(take).collect()
}

fn take(order: &Order, stand: &Stand<'_>, workload: &Workload) -> Result<Profile> {
    let file = TestRun::current()?.unique_directory("profile")?.join("perf.data");
    let file = file.to_string_lossy();
    let perf = Attached::start(&stand.standing, &["record", "-q", "-F", FREQUENCY_HZ, "-o", &file])?;
    let (_, measured) = drive(&order.plan, stand, workload, Some(perf))?;
    if measured.perf_said.is_none() {
        return Ok(Profile::new());
    }
    let mut report = Command::new("perf");
    report.args(["report", "-q", "-i", &file, "--stdio", "--no-children", "--sort", "symbol"]);
    report.args(["--percent-limit", "0.05", "-t", "\t"]);
    parse(&shell::output(&mut report).context("perf report")?)
}

/// Lines like `12.34%`, tab, `[.] engine::tls::seal`, and columns that are of no use here; several of one name (generic code) are added up.
fn parse(report: &str) -> Result<Profile> {
    let mut profile = Profile::new();
    for line in report.lines() {
        let Some((percent, symbol)) = line.trim().split_once('\t') else { continue };
        let percent: f64 = percent.trim().trim_end_matches('%').parse().with_context(|| line.to_owned())?;
        *profile.entry(name(symbol)).or_default() += percent / 100.0;
    }
    Ok(profile)
}

/// Without what tells user from kernel, without the hash of the compiler, and without the columns behind it.
fn name(columns: &str) -> String {
    let symbol = columns.split('\t').next().unwrap_or_default().trim();
    let symbol = symbol.strip_prefix("[.]").or_else(|| symbol.strip_prefix("[k]")).unwrap_or(symbol).trim();
    let hash = symbol.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16 && is_hex(hash));
    hash.map_or(symbol, |(name, _)| name).to_owned()
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn functions_have_their_share() {
        let report = "\n    12.50%\t[.] engine::tls::seal::h0123456789abcdef   \t-      -   \n     2.50%\t[.] engine::tls::seal\n     1.00%\t[k] copy_user_generic\n\n";
        let profile = parse(report).unwrap();
        assert_eq!(profile["engine::tls::seal"], 0.15);
        assert_eq!(profile["copy_user_generic"], 0.01);
        assert_eq!(profile.len(), 2);
    }
}
