//! What the gate prints: how everything moved, where the time of a loss went, and the verdict.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::judgement::{Change, Judgement};
use super::{BASE, HEAD};
use crate::measure::profile::Profile;
use crate::record::Run;
use crate::report::noise;
use crate::report::number::number;

/// Functions that are shown of a profile.
const FUNCTIONS_MAX: usize = 15;

/// Shares closer than this are alike: a profile of a few seconds can't tell them apart.
const SHARE_MIN: f64 = 0.003;

/// One line a figure.
pub(super) fn table(run: &Run, changes: &[Change]) -> String {
    let build = |name: &str| {
        let subject = run.targets.iter().find(|target| target.name == name);
        subject
            .map_or(String::new(), |subject| format!("{} ({})", subject.build.version, subject.build.sha256))
    };
    let mut page = format!(
        "base: {}\nhead: {}\n{} of {} s, interleaved; head ÷ base, median{}\n\n",
        build(BASE),
        build(HEAD),
        run.rounds_in_words(),
        run.plan.seconds,
        if noise::has_intervals(run.rounds()) { " with its 95 % interval" } else { "" },
    );
    page += "| workload | figure | base | head | change | interval | threshold | |\n|---|---|---|---|---|---|---|---|\n";
    for change in changes {
        let interval = change.ratio.and_then(|ratio| ratio.interval);
        let interval = or_dash(interval, |(low, high)| format!("{}..{}", percent(low), percent(high)));
        let _ = writeln!(
            page,
            "| {} | {}, {} | {} | {} | {} | {interval} | {:.0} % | {} |",
            change.workload,
            change.figure.title,
            change.figure.unit,
            or_dash(change.base, number),
            or_dash(change.head, number),
            or_dash(change.ratio, |ratio| percent(ratio.median)),
            change.threshold * 100.0,
            change.judgement,
        );
    }
    page
}

/// What there is, in words.
fn or_dash<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), words)
}

/// A ratio as a change.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

/// The functions whose cost changed most, in shares of the base's time: what the head uses more is seen as more.
pub(super) fn profile(workload: &str, base: &Profile, head: &Profile, changes: &[Change]) -> String {
    let growth = growth(workload, changes);
    let names: BTreeSet<&String> = base.keys().chain(head.keys()).collect();
    let share = |profile: &Profile, name: &str| profile.get(name).copied().unwrap_or_default();
    let mut moved: Vec<(f64, &String)> =
        names.into_iter().map(|name| (share(head, name) * growth - share(base, name), name)).collect();
    moved.retain(|(by, _)| by.abs() >= SHARE_MIN);
    moved.sort_by(|(one, _), (other, _)| other.abs().total_cmp(&one.abs()));
    let mut page = format!("\nwhere the time of {workload} went, in percent of the base's CPU:\n");
    for (by, name) in moved.iter().take(FUNCTIONS_MAX) {
        let _ = writeln!(
            page,
            "  {:+6.1}   {:5.1} → {:5.1}   {name}",
            by * 100.0,
            share(base, name) * 100.0,
            share(head, name) * growth * 100.0,
        );
    }
    if moved.is_empty() {
        page += "  no function has another share than before: all of it became dearer, or the loss is in waiting\n";
    }
    page
}

/// How much CPU the head uses for what the base uses 1 for; 1 where the workload has no such figure.
fn growth(workload: &str, changes: &[Change]) -> f64 {
    let is_cpu = |change: &&Change| {
        change.workload == workload && matches!(change.figure.key, "cpu_s_per_gb" | "cpu_us_per_op")
    };
    changes.iter().find(is_cpu).and_then(|change| change.ratio).map_or(1.0, |ratio| ratio.median)
}

/// Of changes that show a loss, or that are told of every figure.
pub(super) fn verdict(changes: &[Change]) -> String {
    let count = |wanted| changes.iter().filter(|change| change.judgement == wanted).count();
    let judged = changes.len();
    match count(Judgement::Lost) {
        0 => format!(
            "passed: no sure loss in {judged} figures ({} gained, {} worse but not surely)",
            count(Judgement::Gained),
            count(Judgement::Unsure),
        ),
        lost => format!("FAILED: {lost} of {judged} figures are surely worse than they may be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_shown_by_how_much_they_moved() {
        let of = |shares: &[(&str, f64)]| -> Profile {
            shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
        };
        let (base, head) =
            (of(&[("seal", 0.5), ("copy", 0.3)]), of(&[("seal", 0.5), ("copy", 0.2), ("clone", 0.2)]));
        let page = profile("bulk", &base, &head, &[]);
        let lines: Vec<&str> = page.lines().collect();
        assert!(lines[2].contains("+20.0") && lines[2].ends_with("clone"), "{page}");
        assert!(lines[3].contains("-10.0") && lines[3].ends_with("copy"), "{page}");
        assert!(!page.contains("seal"), "{page}");
        assert!(profile("bulk", &base, &base, &[]).contains("no function"));
    }
}
