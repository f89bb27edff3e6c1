//! Counts beside earlier ones: what changed, where, and whether that is too much.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};

use super::baseline::{Baseline, Case};
use super::environment::Environment;

/// A case that takes so many percent more than before fails. The counts of a build differ from run to run by less than
/// 0.1 %, and changes elsewhere in a crate move what is inlined by more.
const WORSE_PERCENT_MAX: f64 = 2.0;

/// Functions that are named for a case that moved.
const FUNCTIONS_MAX: usize = 12;

/// Of these the ones that moved by less than this share of the case are not named.
const FUNCTION_SHARE_MIN: f64 = 0.001;

pub(super) struct Comparison<'b> {
    rows: Vec<Row<'b>>,
    /// What is not the same on this machine: name, before, now.
    differences: Vec<(&'b str, &'b str, &'b str)>,
}

/// A case before and now; one of them may be missing.
struct Row<'b> {
    name: &'b str,
    before: Option<&'b Case>,
    now: Option<&'b Case>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    New,
    Gone,
}

// === impl Comparison ===

impl<'b> Comparison<'b> {
    /// Of the cases whose name contains `filter`.
    pub(super) fn new(before: &'b Baseline, now: &'b Baseline, filter: &str) -> Self {
        let find = |baseline: &'b Baseline, name: &str| baseline.cases.iter().find(|case| case.name == name);
        let of_now = now.cases.iter().map(|case| Row {
            name: &case.name,
            before: find(before, &case.name),
            now: Some(case),
        });
        let gone = before.cases.iter().filter(|case| case.name.contains(filter));
        let gone = gone.filter(|case| find(now, &case.name).is_none());
        let gone = gone.map(|case| Row { name: &case.name, before: Some(case), now: None });
        Self {
            rows: of_now.chain(gone).collect(),
            differences: differences(&before.environment, &now.environment),
        }
    }

    /// An error if a case has become worse; with `all_are_known` also if there are others than before.
    pub(super) fn judge(&self, all_are_known: bool) -> Result<()> {
        if !self.differences.is_empty() {
            println!("INCOMPLETE: the instruction counts are not judged: {}", self.what_differs());
            return Ok(());
        }
        let worse = self.named(|verdict| verdict == Verdict::Worse);
        if !worse.is_empty() {
            bail!(
                "more than {WORSE_PERCENT_MAX} % more instructions than before: {}. If that is the price of \
                 something worth it, say so in the commit and write the counts down: cargo xtask instructions --refresh",
                worse.join(", ")
            );
        }
        let others = self.named(|verdict| matches!(verdict, Verdict::New | Verdict::Gone));
        if all_are_known && !others.is_empty() {
            bail!("cases came or went: {}; cargo xtask instructions --refresh", others.join(", "));
        }
        let better = self.named(|verdict| verdict == Verdict::Better);
        if !better.is_empty() {
            println!(
                "better than before: {}; keep it by cargo xtask instructions --refresh",
                better.join(", ")
            );
        }
        Ok(())
    }

    fn named(&self, is_meant: impl Fn(Verdict) -> bool) -> Vec<&'b str> {
        self.rows.iter().filter(|row| is_meant(row.verdict())).map(|row| row.name).collect()
    }

    fn what_differs(&self) -> String {
        let texts =
            self.differences.iter().map(|(name, before, now)| format!("{name} was {before}, is {now}"));
        texts.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>12} {:>12} {:>9}  one operation is", "case", "before", "now", "change")?;
        for row in &self.rows {
            let count = |case: Option<&Case>| {
                case.map_or_else(|| "-".to_owned(), |case| format!("{:.1}", case.instructions))
            };
            let change = match row.verdict() {
                Verdict::New => "new".to_owned(),
                Verdict::Gone => "gone".to_owned(),
                _ => format!("{:+.2} %", row.percent()),
            };
            let operation = row.now.or(row.before).map_or("", |case| &case.operation);
            let (before, now) = (count(row.before), count(row.now));
            writeln!(f, "{:<22} {before:>12} {now:>12} {change:>9}  {operation}", row.name)?;
        }
        for row in self.rows.iter().filter(|row| matches!(row.verdict(), Verdict::Better | Verdict::Worse)) {
            row.explain(f)?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row<'_> {
    fn verdict(&self) -> Verdict {
        match (self.before, self.now) {
            (None, _) => Verdict::New,
            (_, None) => Verdict::Gone,
            _ if self.percent() > WORSE_PERCENT_MAX => Verdict::Worse,
            _ if self.percent() < -WORSE_PERCENT_MAX => Verdict::Better,
            _ => Verdict::Same,
        }
    }

    /// How many percent more than before, as it is shown: to the hundredth.
    fn percent(&self) -> f64 {
        let (Some(before), Some(now)) = (self.before, self.now) else { return 0.0 };
        let hundredths = (10_000.0 * (now.instructions / before.instructions - 1.0)).round();
        // Nothing is not less than nothing.
        hundredths / 100.0 + 0.0
    }

    /// The functions that moved most, in instructions of one operation.
    fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(before), Some(now)) = (self.before, self.now) else { return Ok(()) };
        writeln!(f, "\n{} {:+.2} %: instructions of one operation, by function", self.name, self.percent())?;
        for (name, was, is) in moved(before, now).into_iter().take(FUNCTIONS_MAX) {
            let count =
                |count: Option<f64>| count.map_or_else(|| "below".to_owned(), |count| format!("{count:.1}"));
            let change = is.unwrap_or_default() - was.unwrap_or_default();
            writeln!(f, "  {change:>+10.1}  {:>10} -> {:<10}  {name}", count(was), count(is))?;
        }
        Ok(())
    }
}

/// Functions that take more or less than before, those first that moved most: name, before, now. One that is missing was
/// too small to be written down, or is not there.
fn moved<'b>(before: &'b Case, now: &'b Case) -> Vec<(&'b str, Option<f64>, Option<f64>)> {
    let names: BTreeSet<&String> = before.functions.keys().chain(now.functions.keys()).collect();
    let both = names
        .into_iter()
        .map(|name| (name.as_str(), before.functions.get(name).copied(), now.functions.get(name).copied()));
    let size = |was: Option<f64>, is: Option<f64>| (is.unwrap_or_default() - was.unwrap_or_default()).abs();
    let mut moved: Vec<_> =
        both.filter(|(_, was, is)| size(*was, *is) >= FUNCTION_SHARE_MIN * before.instructions).collect();
    moved.sort_by(|(_, was, is), (_, other_was, other_is)| {
        size(*other_was, *other_is).total_cmp(&size(*was, *is))
    });
    moved
}

fn differences<'b>(before: &'b Environment, now: &'b Environment) -> Vec<(&'b str, &'b str, &'b str)> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let value =
        |environment: &'b Environment, name: &str| environment.get(name).map_or("unknown", String::as_str);
    let both = names.into_iter().map(|name| (name.as_str(), value(before, name), value(now, name)));
    both.filter(|(_, before, now)| before != now).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn baseline(cases: &[(&str, &[(&str, f64)])]) -> Baseline {
        let case = |(name, functions): &(&str, &[(&str, f64)])| Case {
            name: (*name).to_owned(),
            operation: "one".to_owned(),
            instructions: functions.iter().map(|(_, count)| count).sum(),
            functions: functions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        };
        let environment = Environment::from([("rustc".to_owned(), "1.95.0".to_owned())]);
        Baseline { environment, cases: cases.iter().map(case).collect() }
    }

    /// The verdict of one case that took 1000 instructions and takes `now`.
    fn verdict(now: f64) -> Verdict {
        let (before, now) = (baseline(&[("a", &[("f", 1000.0)])]), baseline(&[("a", &[("f", now)])]));
        Comparison::new(&before, &now, "").rows[0].verdict()
    }

    #[test]
    fn two_percent_either_way_are_the_same() {
        let table = [
            (1000.0, Verdict::Same),
            (1020.0, Verdict::Same),
            (1020.2, Verdict::Worse),
            (980.0, Verdict::Same),
            (979.8, Verdict::Better),
        ];
        for (now, expected) in table {
            assert_eq!(verdict(now), expected, "{now}");
        }
    }

    #[test]
    fn a_case_that_became_worse_fails_and_names_the_functions() {
        let before = baseline(&[("a", &[("f", 500.0), ("g", 300.0), ("h", 200.0)]), ("b", &[("f", 10.0)])]);
        let now = baseline(&[("a", &[("f", 500.0), ("g", 350.0), ("new", 180.0)]), ("b", &[("f", 10.0)])]);
        let comparison = Comparison::new(&before, &now, "");
        let error = comparison.judge(true).unwrap_err().to_string();
        assert!(error.contains("before: a. If"), "{error}");
        let text = comparison.to_string();
        let lines: Vec<&str> = text.lines().skip(5).map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "-200.0       200.0 -> below       h",
                "+180.0       below -> 180.0       new",
                "+50.0       300.0 -> 350.0       g"
            ]
        );
    }

    #[test]
    fn better_is_no_failure() {
        let (before, now) = (baseline(&[("a", &[("f", 100.0)])]), baseline(&[("a", &[("f", 50.0)])]));
        Comparison::new(&before, &now, "").judge(true).unwrap();
    }

    #[test]
    fn on_another_machine_nothing_is_judged() {
        let before = baseline(&[("a", &[("f", 100.0)])]);
        let mut now = baseline(&[("a", &[("f", 200.0)])]);
        now.environment.insert("rustc".to_owned(), "1.96.0".to_owned());
        let comparison = Comparison::new(&before, &now, "");
        comparison.judge(true).unwrap();
        assert_eq!(comparison.what_differs(), "rustc was 1.95.0, is 1.96.0");
        now.environment.insert("rustc".to_owned(), "1.95.0".to_owned());
        assert!(Comparison::new(&before, &now, "").judge(true).is_err());
    }

    #[test]
    fn cases_that_came_or_went_fail_where_the_baseline_is_the_committed_one() {
        let before = baseline(&[("a", &[("f", 100.0)]), ("old", &[("f", 1.0)])]);
        let now = baseline(&[("a", &[("f", 100.0)]), ("fresh", &[("f", 1.0)])]);
        let comparison = Comparison::new(&before, &now, "");
        comparison.judge(false).unwrap();
        let error = comparison.judge(true).unwrap_err().to_string();
        assert!(error.contains("fresh, old"), "{error}");
        Comparison::new(&before, &baseline(&[("a", &[("f", 100.0)])]), "a").judge(true).unwrap();
    }
}
