use super::*;
use crate::record::CutShort;
use crate::report::made_up;

const TARGETS: [&str; 4] = ["direct", "ztunnel", "ringway", "ringway:aes256"];

fn page_of(workloads: &[&str]) -> String {
    page(&made_up::run(&TARGETS, workloads, 5))
}

#[test]
fn the_page_is_whole_and_needs_nothing_from_elsewhere() {
    let page = page_of(&["bulk", "ping-pong", "idle"]);
    for part in [
        "<title>ringway beside ztunnel</title>",
        "Against <b>ztunnel</b>, ringway is better in",
        "bulk throughput</span><span class=\"large\">+4",
        "ringway:aes256 has the same as ztunnel",
        "<section class=\"workload\" id=\"w-ping-pong\">",
        "CPU of the proxies <span class=\"unit\">s/GB",
        "latency by quantile",
        "<th>÷ ztunnel</th>",
        "<tr class=\"ours variant\"><th>ringway:aes256<small>equal suites",
        "memory per idle connection",
        "The machine was quiet.",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for foreign in ["http://", "https://", "<script", "@import", "src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn elements_are_closed() {
    let page = page_of(&["bulk", "ping-pong", "idle"]);
    for element in [
        "section", "figure", "table", "tr", "td", "th", "div", "svg", "details", "dl", "a", "span", "p",
        "small",
    ] {
        let opened =
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        let closed = page.matches(&format!("</{element}>")).count();
        assert_eq!(opened, closed, "{element}");
    }
}

#[test]
fn text_from_a_file_stays_text() {
    let mut run = made_up::run(&TARGETS, &["bulk"], 5);
    run.targets[1].build.version = "<script>alert(1)</script>".to_owned();
    run.workloads[0].title = "a & b".to_owned();
    let page = page(&run);
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("a &amp; b"));
}

#[test]
fn losses_are_named_in_the_summary() {
    let mut run = made_up::run(&TARGETS, &["bulk"], 5);
    for sample in run.samples.iter_mut().filter(|sample| sample.target == "ringway") {
        for value in sample.figures.values_mut() {
            *value /= 2.0;
        }
    }
    let page = page(&run);
    assert!(page.contains("Worse: <a href=\"#w-bulk\">bulk</a> (throughput −"), "{page}");
}

#[test]
fn a_run_of_one_target_or_of_nothing_is_a_page_too() {
    let alone = page(&made_up::run(&["direct"], &["ping-pong"], 1));
    assert!(alone.contains("<title>direct</title>") && !alone.contains("At a glance"));
    let nothing = page(&made_up::empty());
    assert!(nothing.contains("Machine and method"));
}

#[test]
fn a_run_that_was_cut_short_says_so_and_promises_no_interval() {
    let mut run = made_up::run(&TARGETS, &["bulk"], 3);
    run.plan.rounds = 9;
    run.cut_short = Some(CutShort { whole_rounds: 3 });
    let page = page(&run);
    assert!(
        page.contains("<p class=\"note doubt\">This run was cut short: 3 of 9 rounds were measured.</p>")
    );
    assert!(page.contains("<dd>3 of 9 rounds of 5 s") && !page.contains("95 %"), "{page}");
}

#[test]
fn the_same_run_gives_the_same_page() {
    assert_eq!(page_of(&["bulk"]), page_of(&["bulk"]));
}
