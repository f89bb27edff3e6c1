//! The page for a terminal or a README.

use std::fmt::Write;

use super::board::{self, Comparison, Line, Section};
use super::noise;
use super::number::{self, number};
use super::statistics::{Ratio, Spread, Verdict};
use super::suites;
use crate::machine::Machine;
use crate::record::figure::Figure;
use crate::record::{Run, Subject};

/// The whole page.
pub(crate) fn page(run: &Run) -> String {
    let sections = board::sections(run);
    let mut page = cut_short(run) + &machine(&run.machine) + &plan(run) + &subjects(&run.targets);
    for note in suites::notes(run) {
        let _ = writeln!(page, "\n{note}");
    }
    for section in &sections {
        page += &workload(section);
    }
    page += &left_out(run);
    let _ = writeln!(page, "\n{}", noise::sentence(run));
    if let Some(agreement) = noise::agreement(&sections) {
        let _ = writeln!(page, "{agreement}");
    }
    page
}

fn machine(machine: &Machine) -> String {
    let named = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join("; ");
    let mitigations = named(&mut machine.mitigations.iter().map(|(flaw, state)| format!("{flaw}: {state}")));
    let tools = named(&mut machine.tools.iter().map(|(name, version)| format!("{name}: {version}")));
    let mut lines = vec![format!(
        "{} · {} · {} ({}) · cores {} · {} · governor {} · clock {}",
        machine.date,
        machine.kernel,
        machine.cpu,
        machine.cpu_flags.join(" "),
        machine.cores_in_words(),
        machine.memory,
        machine.governor.as_deref().unwrap_or("none"),
        machine.clock_source.as_deref().unwrap_or("unknown"),
    )];
    lines.push(format!("Mitigations: {}.", if mitigations.is_empty() { "none" } else { &mitigations }));
    if !tools.is_empty() {
        lines.push(format!("Tools: {tools}."));
    }
    lines.join("\n\n") + "\n"
}

/// Before anything else, so that nobody takes it for all that was asked for.
fn cut_short(run: &Run) -> String {
    run.cut_short_in_words().map(|said| format!("**{said}**\n\n")).unwrap_or_default()
}

fn plan(run: &Run) -> String {
    format!(
        "\n{}; {}.\n\n    {}\n\n\
         Figures: median (lowest..highest) of the rounds. Ratios: taken within each round, then the median{}. {}\n",
        run.plan.site,
        run.in_words(),
        run.plan.command.join(" "),
        if noise::has_intervals(run.rounds()) { " (interval of 95 %)" } else { "" },
        noise::meaning(run.rounds())
    )
}

fn subjects(subjects: &[Subject]) -> String {
    let mut table = "\n| target | cipher suite | build | SHA-256 |\n|---|---|---|---|\n".to_owned();
    for subject in subjects {
        let build = [subject.build.version.as_str(), subject.build.notes.as_str()];
        let build: Vec<String> =
            build.iter().filter(|part| !part.is_empty()).map(|part| cell(part)).collect();
        let suite = subject.suite.as_deref().unwrap_or("–");
        let _ = writeln!(
            table,
            "| {} | {suite} | {} | {} |",
            subject.name,
            build.join("; "),
            subject.build.sha256
        );
    }
    table
}

fn workload(section: &Section<'_>) -> String {
    let mut part = format!("\n### {}\n\n{}", section.note.name, section.note.title);
    if !section.note.command.is_empty() {
        let _ = write!(part, " `{}`", section.note.command);
    }
    part += "\n\n";
    let columns: Vec<usize> = section.headlines().collect();
    let heads: Vec<String> = columns.iter().map(|&at| head(section.figures[at])).collect();
    part += &table("", &heads, section.lines.iter().map(|line| figures(line, &columns)));
    if !section.comparisons.is_empty() {
        part.push('\n');
        part += &table(
            "",
            &heads,
            section.comparisons.iter().map(|comparison| ratios(section, comparison, &columns)),
        );
    }
    part + &details(section)
}

/// All figures, in the median, for those who open it.
fn details(section: &Section<'_>) -> String {
    if section.figures.len() == section.headlines().count() {
        return String::new();
    }
    let heads: Vec<String> = section.lines.iter().map(|line| line.target.name.clone()).collect();
    let rows = section.figures.iter().enumerate().map(|(at, figure)| {
        let medians = section.lines.iter().map(|line| line.median(Some(at)).map_or_else(nothing, number));
        (head(figure), medians.collect())
    });
    format!("\n<details><summary>all figures</summary>\n\n{}\n</details>\n", table("", &heads, rows))
}

/// Its title with its unit.
pub(crate) fn head(figure: &Figure) -> String {
    if figure.unit.is_empty() {
        figure.title.to_owned()
    } else {
        format!("{}, {}", figure.title, figure.unit)
    }
}

fn nothing() -> String {
    "–".to_owned()
}

fn figures(line: &Line<'_>, columns: &[usize]) -> (String, Vec<String>) {
    let cells = columns.iter().map(|&at| line.spreads[at].as_ref().map_or_else(nothing, spread));
    (line.target.name.clone(), cells.collect())
}

/// A median with its range.
pub(crate) fn spread(spread: &Spread) -> String {
    format!("{} ({}..{})", number(spread.median), number(spread.min), number(spread.max))
}

fn ratios(section: &Section<'_>, comparison: &Comparison<'_>, columns: &[usize]) -> (String, Vec<String>) {
    let cell = |&at: &usize| comparison.ratios[at].as_ref().map_or_else(nothing, |it| ratio(it, section, at));
    let differ = if suites::differ(comparison.this, comparison.that) { ", other suite" } else { "" };
    let name = format!("{} ÷ {}{differ}", comparison.this.name, comparison.that.name);
    (name, columns.iter().map(cell).collect())
}

fn ratio(ratio: &Ratio, section: &Section<'_>, at: usize) -> String {
    let Some((low, high)) = ratio.interval else { return number::ratio(ratio.median) };
    let interval = format!("{}..{}", number::ratio(low), number::ratio(high));
    match ratio.verdict(section.figures[at].better) {
        Verdict::NoDifference => format!("no difference ({interval})"),
        _ => format!("{} ({interval})", number::ratio(ratio.median)),
    }
}

/// A table, which ends with a line end.
pub(crate) fn table(
    corner: &str,
    heads: &[String],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) -> String {
    let heads: Vec<String> = heads.iter().map(|head| cell(head)).collect();
    let mut table =
        format!("| {} | {} |\n|---|{}\n", cell(corner), heads.join(" | "), "---:|".repeat(heads.len()));
    for (name, cells) in rows {
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        let _ = writeln!(table, "| {} | {} |", cell(&name), cells.join(" | "));
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn left_out(run: &Run) -> String {
    if run.left_out.is_empty() {
        return String::new();
    }
    let mut part = "\n### Left out\n\n".to_owned();
    for left in &run.left_out {
        let _ = writeln!(part, "- {}: {}", left.what, left.reason);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CutShort, LeftOut};
    use crate::report::made_up;

    #[test]
    fn the_page_has_machine_plan_targets_and_a_table_per_workload() {
        let run =
            made_up::run(&["direct", "ztunnel", "ringway", "ringway:aes256"], &["bulk", "ping-pong"], 5);
        let page = page(&run);
        for part in [
            "a CPU that does not exist (aes vaes) · cores 0, 1 of 2",
            "5 rounds of 5 s after 1 s of warm-up, 2 worker threads",
            "    ringway-perf run\n",
            "With 5 rounds the interval of a ratio is the range",
            "| ringway | TLS_AES_128_GCM_SHA256 | ringway 1.0 | 0123456789ab |",
            "By default ringway negotiates AES-128-GCM and ztunnel AES-256-GCM: ringway:aes256 has the same as ztunnel.",
            "### bulk\n\nThe workload bulk. `iperf3 -t 30 -P 4`",
            "|  | throughput, Gb/s | CPU, s/GB |\n|---|---:|---:|\n",
            "| ringway ÷ ztunnel, other suite | 1.4",
            "| ringway:aes256 ÷ ztunnel | 1.3",
            "| ringway ÷ direct | 0.2",
            "| CPU, client's side, user, s/GB | – | 0.",
            "The machine was quiet.",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn an_interval_that_spans_one_is_no_difference() {
        let mut run = made_up::run(&["ztunnel", "ringway"], &["bulk"], 5);
        for sample in &mut run.samples {
            let value = 4.0 + sample.round as f64 * if sample.target == "ringway" { 0.1 } else { 0.12 } - 0.1;
            sample.figures.insert("throughput_gbps".to_owned(), value);
        }
        run.samples[0].figures.insert("throughput_gbps".to_owned(), 3.0);
        let page = page(&run);
        assert!(page.contains("no difference (0.98..1.30)"), "{page}");
    }

    #[test]
    fn too_few_rounds_have_no_interval() {
        let page = page(&made_up::run(&["direct", "ringway"], &["bulk"], 2));
        assert!(page.contains("With fewer than 5 rounds") && !page.contains("95 %"), "{page}");
        assert!(page.contains("| ringway ÷ direct | 0.23 | – |"), "{page}");
    }

    #[test]
    fn a_run_that_was_cut_short_says_so_first() {
        let mut run = made_up::run(&["direct", "ringway"], &["bulk"], 3);
        run.plan.rounds = 9;
        run.cut_short = Some(CutShort { whole_rounds: 3 });
        let page = page(&run);
        assert!(page.starts_with("**This run was cut short: 3 of 9 rounds were measured.**\n"), "{page}");
        assert!(page.contains("3 of 9 rounds of 5 s") && page.contains("With fewer than 5 rounds"), "{page}");
    }

    #[test]
    fn what_was_left_out_is_said_and_cells_stay_cells() {
        let mut run = made_up::run(&["direct"], &["bulk"], 5);
        run.targets[0].build.version = "a | b".to_owned();
        run.left_out.push(LeftOut { what: "wireguard".to_owned(), reason: "no module".to_owned() });
        let page = page(&run);
        assert!(page.contains("- wireguard: no module") && page.contains("a \\| b"), "{page}");
    }
}
