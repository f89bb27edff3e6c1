//! The beginning of the page: what came out in sentences and a few large numbers, and all workloads at a glance.

use super::tables::{bare_ratio, mark, ratio, scrolling};
use super::{anchor, escape};
use crate::record::figure::Figure;
use crate::record::{Run, Subject};
use crate::report::board::{Comparison, Section};
use crate::report::number::{self, number};
use crate::report::statistics::{Ratio, Verdict};
use crate::report::{noise, roles, suites};

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

/// Workloads whose losses the summary names; the tables have all.
const WORKLOADS_NAMED_MAX: usize = 4;

pub(super) fn title(run: &Run) -> String {
    let others: Vec<&str> = roles::peers(run).iter().map(|target| target.name.as_str()).collect();
    let has_ringway = run.targets.iter().any(|target| roles::is_ringway(&target.name));
    match (has_ringway, others.is_empty()) {
        (true, true) => "ringway".to_owned(),
        (true, false) => format!("ringway beside {}", listed(&others)),
        (false, _) => listed(&others),
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
    // A yardstick is nothing to be better or worse than.
    let peers: Vec<&Subject> =
        roles::peers(run).into_iter().filter(|target| roles::is_peer(target)).collect();
    let scores: String = peers.iter().filter_map(|peer| score(sections, &peer.name)).collect();
    let tiles: String = peers.first().map(|peer| tiles(sections, &peer.name)).unwrap_or_default();
    let notes: String =
        suites::notes(run).iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape(note))).collect();
    let doubt = if noise::doubts(run).is_empty() { "note" } else { "note doubt" };
    format!(
        "<header>\n<p class=\"eyebrow\">{} · {}</p>\n<h1>{}</h1>\n{}{scores}{tiles}{notes}<p class=\"{doubt}\">{}</p>\n\
         </header>\n",
        escape(run.machine.date.split('T').next().unwrap_or_default()),
        escape(&run.plan.site),
        escape(&title(run)),
        cut_short(run),
        escape(&noise::sentence(run))
    )
}

/// Before any result, so that nobody takes it for all that was asked for.
fn cut_short(run: &Run) -> String {
    let said = run.cut_short_in_words();
    said.map(|said| format!("<p class=\"note doubt\">{}</p>\n", escape(&said))).unwrap_or_default()
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
    let counts = [
        (of(Verdict::Better).count(), "better"),
        (of(Verdict::NoDifference).count(), "no different"),
        (of(Verdict::Worse).count(), "worse"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .enumerate()
        .map(|(at, (count, word))| {
            if at == 0 { format!("{word} in {count} of {all} figures") } else { format!("{word} in {count}") }
        })
        .collect();
    let counts: Vec<&str> = counts.iter().map(String::as_str).collect();
    Some(format!(
        "<p class=\"lead\">Against <b>{}</b>, ringway is {}.{}</p>\n",
        escape(peer),
        listed(&counts),
        losses(of(Verdict::Worse))
    ))
}

/// Where ringway is worse, by workload; empty where it is not.
fn losses<'s>(worse: impl Iterator<Item = &'s (&'s Section<'s>, &'static Figure, Ratio)>) -> String {
    let mut by_workload: Vec<(&str, Vec<String>)> = Vec::new();
    for (section, figure, ratio) in worse {
        let name = section.note.name.as_str();
        let figure = format!("{} {}", escape(figure.title), number::change(ratio.median));
        match by_workload.last_mut() {
            Some((last, figures)) if *last == name => figures.push(figure),
            _ => by_workload.push((name, vec![figure])),
        }
    }
    let more = by_workload.len().saturating_sub(WORKLOADS_NAMED_MAX);
    let named: Vec<String> = by_workload
        .iter()
        .take(WORKLOADS_NAMED_MAX)
        .map(|(name, figures)| {
            format!("<a href=\"#{}\">{}</a> ({})", anchor(name), escape(name), figures.join("; "))
        })
        .collect();
    match (named.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!(" Worse: {}.", named.join(", ")),
        (_, more) => format!(" Worse: {}, and in {more} more workloads.", named.join(", ")),
    }
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
    if tiles.is_empty() {
        return tiles;
    }
    format!(
        "<h2 class=\"against\">ringway against {}</h2>\n<div class=\"tiles\">\n{tiles}</div>\n",
        escape(peer)
    )
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
    let (change, interval) = ratio.as_changes();
    let interval = interval.map_or_else(String::new, |interval| format!(", {interval}"));
    Some(format!(
        "<a class=\"tile {class}\" href=\"#{}\"><span class=\"what\">{what}</span><span class=\"large\">{}</span>\
         <span class=\"verdict\">{}{word}{interval}</span><span class=\"numbers\">{} against {} {}</span>\
         <span class=\"where\">{}</span></a>\n",
        anchor(&section.note.name),
        change,
        mark(verdict),
        number(median("ringway")?),
        number(median(peer)?),
        escape(figure.unit),
        escape(&section.note.name)
    ))
}

/// Every workload in one or two rows: ringway, and ringway as a multiple of each other target, peers first.
pub(super) fn glance(run: &Run, sections: &[Section<'_>]) -> String {
    let is_compared =
        |name: &str| sections.iter().any(|section| section.comparison("ringway", name).is_some());
    let mut others: Vec<&Subject> = run
        .targets
        .iter()
        .filter(|target| !roles::is_ringway(&target.name) && is_compared(&target.name))
        .collect();
    if others.is_empty() {
        return String::new();
    }
    let peers: Vec<&str> = roles::peers(run).iter().map(|peer| peer.name.as_str()).collect();
    others.sort_by_key(|other| peers.iter().position(|peer| *peer == other.name).unwrap_or(usize::MAX));
    let head: String = others.iter().map(|other| format!("<th>÷ {}</th>", escape(&other.name))).collect();
    let places = sections.iter().flat_map(|section| glances(section).map(move |at| (section, at)));
    let rows: String = places.map(|(section, at)| row(section, at, &others)).collect();
    format!(
        "<section id=\"glance\">\n<h2>At a glance</h2>\n<p class=\"title\">ringway as a multiple of each other target{}. \
         Beside peers: <span class=\"better\"><i class=\"mark\">▲</i>ringway is better</span>, \
         <span class=\"worse\"><i class=\"mark\">▼</i>worse</span>. Yardsticks, which nobody would use instead, have no \
         mark.</p>\n{}</section>\n",
        if noise::has_intervals(run.rounds()) { ", and the interval of 95 %" } else { "" },
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

fn row(section: &Section<'_>, at: usize, others: &[&Subject]) -> String {
    let figure = section.figures[at];
    let ours = section.lines.iter().find(|line| line.target.name == "ringway");
    let ours = ours.and_then(|line| line.median(Some(at))).map_or_else(|| "–".to_owned(), number);
    let ratios: String = others
        .iter()
        .map(|other| {
            let comparison = section.comparison("ringway", &other.name);
            let found = comparison.and_then(|comparison| comparison.ratios[at].as_ref());
            if roles::is_peer(other) { ratio(found, figure) } else { bare_ratio(found) }
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
