//! The beginning of the page: what came out in sentences and a few large numbers, and all workloads at a glance.

use super::tables::{mark, ratio, scrolling, verdict_class};
use super::{anchor, escape};
use crate::record::figure::Figure;
use crate::record::{Encryption, Run, Subject};
use crate::report::board::{Comparison, Section};
use crate::report::number::{self, number};
use crate::report::statistics::{Ratio, Verdict};
use crate::report::{noise, suites};

/// What becomes a large number, where it was measured: workloads of which the first that is there counts, the figure, and
/// what people call that.
const TILES: [(&[&str], &str, &str); 8] = [
    (&BULK, "throughput_gbps", "bulk throughput"),
    (&BULK, "cpu_s_per_gb", "CPU for each GB"),
    (&REQUESTS, "rate_per_s", "requests per second"),
    (&REQUESTS, "cpu_us_per_op", "CPU for each request"),
    (&["mixed-ping-first", "mixed-bulk-first"], "latency_p50_us", "median latency beside a bulk transfer"),
    (&["first-byte"], "latency_p99_us", "99 % of first bytes, cold"),
    (&["connect-warm", "netperf-crr", "connect"], "rate_per_s", "new connections per second"),
    (&["idle"], "bytes_per_connection", "memory of an idle connection"),
];
const BULK: [&str; 4] = ["iperf3-p4", "bulk", "iperf3-p1", "netperf-stream"];
const REQUESTS: [&str; 4] = ["ping-pong-32-64", "ping-pong", "netperf-rr", "ping-pong-1-64"];

/// Losses that the summary names; the tables have all.
const LOSSES_NAMED_MAX: usize = 4;

/// The best that could be expected and what it costs to be there at all: not something one would use instead.
const YARDSTICKS: [&str; 2] = ["sealed", "plain"];

pub(super) fn title(run: &Run) -> String {
    let (ours, others): (Vec<&Subject>, Vec<&Subject>) =
        run.targets.iter().partition(|target| suites::is_ringway(&target.name));
    let others: Vec<&str> = others.iter().map(|target| target.name.as_str()).collect();
    match (ours.first(), others.is_empty()) {
        (Some(_), true) => "ringway".to_owned(),
        (Some(_), false) => format!("ringway beside {}", listed(&others)),
        (None, _) => listed(&others),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

pub(super) fn header(run: &Run, sections: &[Section<'_>]) -> String {
    let peers = peers(run);
    let scores: String = peers.iter().filter_map(|peer| score(sections, &peer.name)).collect();
    let tiles: String = peers.first().map(|peer| tiles(sections, &peer.name)).unwrap_or_default();
    let notes: String =
        suites::notes(run).iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape(note))).collect();
    let doubt = if noise::doubts(run).is_empty() { "note" } else { "note doubt" };
    format!(
        "<header>\n<p class=\"eyebrow\">{} · {}</p>\n<h1>{}</h1>\n{scores}{tiles}{notes}<p class=\"{doubt}\">{}</p>\n\
         </header>\n",
        escape(run.machine.date.split('T').next().unwrap_or_default()),
        escape(&run.plan.site),
        escape(&title(run)),
        escape(&noise::sentence(run))
    )
}

/// What one could use in place of ringway; where there is nothing of the kind, all that is not ringway.
fn peers(run: &Run) -> Vec<&Subject> {
    let others = || run.targets.iter().filter(|target| !suites::is_ringway(&target.name));
    let peers: Vec<&Subject> = others()
        .filter(|target| target.encryption != Encryption::None && !YARDSTICKS.contains(&target.name.as_str()))
        .collect();
    if peers.is_empty() { others().collect() } else { peers }
}

/// Every headline that compares ringway with a peer.
fn judged<'s>(sections: &'s [Section<'s>], peer: &str) -> Vec<(&'s Section<'s>, &'static Figure, Ratio)> {
    let compared =
        sections.iter().filter_map(|section| Some((section, section.comparison("ringway", peer)?)));
    let of = |(section, comparison): (&'s Section<'s>, &Comparison<'_>)| {
        let figures = section.figures.iter().zip(&comparison.ratios);
        figures.filter_map(|(&figure, ratio)| Some((section, figure, (*ratio)?))).collect::<Vec<_>>()
    };
    compared.flat_map(of).collect()
}

fn score(sections: &[Section<'_>], peer: &str) -> Option<String> {
    let judged = judged(sections, peer);
    let all = judged.len();
    let of = |verdict: Verdict| {
        judged.iter().filter(move |(_, figure, ratio)| ratio.verdict(figure.better) == verdict)
    };
    if all == 0 {
        return None;
    }
    if of(Verdict::TooFewRounds).count() == all {
        return Some(format!(
            "<p class=\"lead\">Against <b>{}</b>: too few rounds to call anything a difference.</p>\n",
            escape(peer)
        ));
    }
    let losses: Vec<String> = of(Verdict::Worse)
        .map(|(section, figure, ratio)| {
            let name = &section.note.name;
            let change = number::change(ratio.median);
            format!(
                "{} in <a href=\"#{}\">{}</a> ({change})",
                escape(figure.title),
                anchor(name),
                escape(name)
            )
        })
        .collect();
    let named = match losses.len() {
        0 => String::new(),
        few @ ..=LOSSES_NAMED_MAX => format!(" Worse: {}.", losses[..few].join(", ")),
        many => format!(
            " Worse: {}, and {} more.",
            losses[..LOSSES_NAMED_MAX].join(", "),
            many - LOSSES_NAMED_MAX
        ),
    };
    Some(format!(
        "<p class=\"lead\">Against <b>{}</b>, ringway is better in {} of {all} figures, no different in {} and worse in \
         {}.{named}</p>\n",
        escape(peer),
        of(Verdict::Better).count(),
        of(Verdict::NoDifference).count(),
        losses.len()
    ))
}

fn tiles(sections: &[Section<'_>], peer: &str) -> String {
    let tiles: String = TILES
        .iter()
        .filter_map(|(workloads, key, what)| {
            let section = workloads.iter().find_map(|name| {
                sections.iter().find(|section| section.note.name == *name && section.place(key).is_some())
            })?;
            tile(section, section.place(key)?, what, peer)
        })
        .collect();
    if tiles.is_empty() { tiles } else { format!("<div class=\"tiles\">\n{tiles}</div>\n") }
}

fn tile(section: &Section<'_>, at: usize, what: &str, peer: &str) -> Option<String> {
    let figure = section.figures[at];
    let ratio = section.comparison("ringway", peer)?.ratios[at]?;
    let median = |name: &str| {
        section.lines.iter().find(|line| line.target.name == name).and_then(|line| line.median(Some(at)))
    };
    let verdict = ratio.verdict(figure.better);
    let (class, word) = match verdict {
        Verdict::Better => ("better", "better"),
        Verdict::Worse => ("worse", "worse"),
        Verdict::NoDifference => ("even", "no difference"),
        Verdict::TooFewRounds => ("few", "too few rounds"),
    };
    let interval = ratio.interval.map_or_else(String::new, |(low, high)| {
        format!(", {} to {}", number::change(low), number::change(high))
    });
    Some(format!(
        "<a class=\"tile {class}\" href=\"#{}\"><span class=\"what\">{what}</span><span class=\"large\">{}</span>\
         <span class=\"verdict\">{}{word}{interval}</span><span class=\"numbers\">{} against {} {} of {}</span>\
         <span class=\"where\">{}</span></a>\n",
        anchor(&section.note.name),
        number::change(ratio.median),
        mark(verdict),
        number(median("ringway")?),
        number(median(peer)?),
        escape(figure.unit),
        escape(peer),
        escape(&section.note.name)
    ))
}

/// Every workload in one or two rows: ringway, and ringway as a multiple of each other target.
pub(super) fn glance(sections: &[Section<'_>]) -> String {
    let mut others: Vec<&str> = Vec::new();
    for comparison in sections.iter().flat_map(|section| &section.comparisons) {
        let that = comparison.that.name.as_str();
        if comparison.this.name == "ringway" && !others.contains(&that) {
            others.push(that);
        }
    }
    if others.is_empty() {
        return String::new();
    }
    let head: String = others.iter().map(|name| format!("<th>÷ {}</th>", escape(name))).collect();
    let rows: String = sections
        .iter()
        .flat_map(|section| glances(section).map(move |at| (section, at)))
        .map(|(section, at)| row(section, at, &others))
        .collect();
    format!(
        "<section id=\"glance\">\n<h2>At a glance</h2>\n<p class=\"title\">ringway as a multiple of each other target, and the \
         interval of 95 %. <span class=\"better\"><i class=\"mark\">▲</i>ringway is better</span>, <span class=\"worse\">\
         <i class=\"mark\">▼</i>worse</span>.</p>\n{}</section>\n",
        scrolling("at a glance", &format!("<th>ringway</th>{head}"), &rows)
    )
}

/// What a workload is about, and how long its messages wait where it is about bytes.
fn glances(section: &Section<'_>) -> impl Iterator<Item = usize> {
    let subject = section.subject();
    let beside = section
        .place("latency_p50_us")
        .filter(|_| subject.is_some_and(|at| section.figures[at].key == "throughput_gbps"));
    subject.into_iter().chain(beside)
}

fn row(section: &Section<'_>, at: usize, others: &[&str]) -> String {
    let figure = section.figures[at];
    let ours = section.lines.iter().find(|line| line.target.name == "ringway");
    let ours = ours.and_then(|line| line.median(Some(at))).map_or_else(|| "–".to_owned(), number);
    let ratios: String = others
        .iter()
        .map(|other| {
            let comparison = section.comparison("ringway", other);
            ratio(comparison.and_then(|comparison| comparison.ratios[at].as_ref()), figure)
        })
        .collect();
    let name = &section.note.name;
    format!(
        "<tr><th><a href=\"#{}\">{}</a><small>{}, {}</small></th><td>{ours}</td>{ratios}</tr>\n",
        anchor(name),
        escape(name),
        escape(figure.title),
        escape(figure.unit)
    )
}

/// A change with its verdict, for comparisons of two runs.
pub(crate) fn change_cell(ratio: &Ratio, figure: &Figure) -> String {
    let verdict = ratio.verdict(figure.better);
    let interval = ratio.interval.map_or_else(
        || "too few rounds".to_owned(),
        |(low, high)| format!("{} to {}", number::change(low), number::change(high)),
    );
    format!(
        "<td class=\"{}\">{}{}<small>{interval}</small></td>",
        verdict_class(verdict),
        mark(verdict),
        number::change(ratio.median)
    )
}
