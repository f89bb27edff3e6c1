//! `ringway redirect`: the rules of one namespace, or of every pod of the pods file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use control::pods::listed;
use control::redirect::{FamilyReport, Item, RedirectError, Standing, add, remove, show};

use crate::cli::{Redirect, Target};

/// Does it for every namespace named, going on past those that fail.
pub(crate) fn run(action: &Redirect) -> anyhow::Result<ExitCode> {
    let (Redirect::Add { target, .. } | Redirect::Remove(target) | Redirect::Show(target)) = action;
    let mut code = ExitCode::SUCCESS;
    for (name, netns) in namespaces(target)? {
        if let Err(error) = act(action, &name, &netns) {
            let error = error.to_string();
            // An error about the namespace itself begins with its path, which may be the name.
            let place = if error.starts_with(&name) { String::new() } else { format!("{name}: ") };
            eprintln!("ringway: {place}{error}");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn act(action: &Redirect, name: &str, netns: &Path) -> Result<(), RedirectError> {
    match action {
        Redirect::Add { no_ipv6, .. } => {
            if let Some(warning) = add(netns, !no_ipv6 && ipv6_enabled())? {
                eprintln!("ringway: {name}: warning: {warning}");
            }
            println!("{name}: redirected");
        }
        Redirect::Remove(_) => {
            remove(netns)?;
            println!("{name}: not redirected any more");
        }
        Redirect::Show(_) => {
            for report in show(netns)? {
                println!("{name}: {}", describe(&report));
            }
        }
    }
    Ok(())
}

/// The namespaces, and what to call each.
fn namespaces(target: &Target) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if let Some(netns) = &target.netns {
        return Ok(vec![(netns.display().to_string(), netns.clone())]);
    }
    let from_environment = || std::env::var("RINGWAY_PODS_PATH").ok().filter(|path| !path.is_empty());
    let path = target.pods.clone().or_else(|| from_environment().map(PathBuf::from));
    let path = path.context("--all needs the pods file: name it with --pods or RINGWAY_PODS_PATH")?;
    let pods = listed(&path)?;
    Ok(pods.into_iter().map(|pod| (format!("{}/{}", pod.namespace, pod.name), pod.netns)).collect())
}

/// `IPV6_ENABLED=false` means the same here as for the proxy.
fn ipv6_enabled() -> bool {
    !std::env::var("IPV6_ENABLED").is_ok_and(|value| value.trim().eq_ignore_ascii_case("false"))
}

/// The family, how much of it there is, and each rule with a mark in front.
fn describe(report: &FamilyReport) -> String {
    let family = report.family;
    let items = match &report.items {
        Ok(items) => items,
        Err(error) => return format!("{family}: {error}"),
    };
    let present = items.iter().filter(|item| item.standing == Standing::Present).count();
    let summary = match present {
        0 if items.iter().all(|item| item.standing == Standing::Missing) => "not redirected".to_owned(),
        all if all == items.len() => "redirected".to_owned(),
        some => format!("redirected in part, {some} of {} rules as they should be", items.len()),
    };
    let lines = items.iter().map(|item| format!("\n  {} {}", mark(item), item.text));
    format!("{family}: {summary}{}", lines.collect::<String>())
}

fn mark(item: &Item) -> &'static str {
    match item.standing {
        Standing::Present => "present  ",
        Standing::Missing => "missing  ",
        Standing::Misplaced => "misplaced",
    }
}

#[cfg(test)]
mod tests {
    use control::redirect::Family;

    use super::*;

    #[test]
    fn reports_say_how_much_is_there() {
        let item = |standing| Item { text: "rule".to_owned(), standing };
        for (standings, summary) in [
            ([Standing::Present, Standing::Present], "IPv4: redirected"),
            ([Standing::Missing, Standing::Missing], "IPv4: not redirected"),
            (
                [Standing::Present, Standing::Missing],
                "IPv4: redirected in part, 1 of 2 rules as they should be",
            ),
            (
                [Standing::Misplaced, Standing::Missing],
                "IPv4: redirected in part, 0 of 2 rules as they should be",
            ),
        ] {
            let report = FamilyReport { family: Family::V4, items: Ok(standings.map(item).into()) };
            assert_eq!(describe(&report).lines().next(), Some(summary));
        }
    }

    #[test]
    fn every_rule_has_a_line() {
        let items = [Standing::Present, Standing::Misplaced, Standing::Missing]
            .map(|standing| Item { text: "iptables -t nat …".to_owned(), standing });
        let report = FamilyReport { family: Family::V6, items: Ok(items.into()) };
        let text = describe(&report);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  present   iptables -t nat …",
                "  misplaced iptables -t nat …",
                "  missing   iptables -t nat …"
            ]
        );
    }
}
