//! `ringway-perf list`: everything that can be measured, and what of it this machine lacks.

use crate::record::figure::{Better, FIGURES};
use crate::target::Choice;
use crate::workload::Workload;

pub(crate) fn print() {
    print!("{}", page());
}

fn page() -> String {
    let mut page = "targets (--targets)\n".to_owned();
    for (name, sentence) in Choice::KNOWN {
        page += &line(name, sentence, Choice::unavailable(name));
    }
    page += "\nworkloads (--workloads)\n";
    for workload in Workload::all() {
        page += &line(workload.name, workload.title, (workload.unavailable)());
    }
    page += "\nfigures (keys of the JSON, and of gate --threshold)\n";
    for figure in FIGURES {
        let better = if figure.better == Better::Higher { "more is better" } else { "less is better" };
        let unit = if figure.unit.is_empty() { String::new() } else { format!(" in {}", figure.unit) };
        page += &line(figure.key, &format!("{}{unit}; {better}", figure.title), None);
    }
    page
}

fn line(name: &str, sentence: &str, lacking: Option<String>) -> String {
    let lacking = lacking.map(|reason| format!(" [not available here: {reason}]")).unwrap_or_default();
    format!("  {name:<28}  {sentence}{lacking}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_listed_once() {
        let page = page();
        let is_listed_once = |name: &str| {
            page.lines().filter(|line| line.split_whitespace().next() == Some(name)).count() == 1
        };
        assert!(Workload::all().all(|workload| is_listed_once(workload.name)), "{page}");
        assert!(Choice::KNOWN.iter().all(|(name, _)| is_listed_once(name)), "{page}");
        let ztunnel = page.lines().find(|line| line.trim_start().starts_with("ztunnel "));
        assert!(
            ztunnel.is_some_and(|line| line.contains("[not available here: ") && line.contains("--peer")),
            "{page}"
        );
        assert!(FIGURES.iter().all(|figure| is_listed_once(figure.key)), "{page}");
    }
}
