//! The policy rule and the route of table 100, through the `ip` tool, in the namespace of the calling thread.

use std::process::Command;

use super::rules::{ROUTE_TABLE, RULE_MARK, RULE_PRIORITY};
use super::{Family, Item, RedirectError, Standing};

/// How often the same policy rule can be there: the kernel takes no second equal one, but for other protocols.
const SAME_ENTRY_MAX: usize = 16;

const RULE: [&str; 6] = ["priority", RULE_PRIORITY, "fwmark", RULE_MARK, "table", ROUTE_TABLE];
const ROUTE: [&str; 6] = ["local", "default", "dev", "lo", "table", ROUTE_TABLE];

pub(super) fn add(family: Family) -> Result<(), RedirectError> {
    if !route_exists(family)? {
        ip(family, "route", "add", &ROUTE)?;
    }
    if !rule_exists(family)? {
        ip(family, "rule", "add", &RULE)?;
    }
    Ok(())
}

/// Takes out both, going on past what fails: the first failure is returned.
pub(super) fn remove(family: Family) -> Result<(), RedirectError> {
    let rule = remove_all(family, "rule", &RULE, rule_exists);
    let route = remove_all(family, "route", &ROUTE, route_exists);
    rule.and(route)
}

pub(super) fn items(family: Family) -> Result<Vec<Item>, RedirectError> {
    let item = |object: &str, words: &[&str], present| Item {
        text: format!("ip {} {object} add {}", family.ip_option(), words.join(" ")),
        standing: Standing::of(present),
    };
    Ok(vec![item("rule", &RULE, rule_exists(family)?), item("route", &ROUTE, route_exists(family)?)])
}

fn remove_all(
    family: Family,
    object: &str,
    words: &[&str],
    exists: impl Fn(Family) -> Result<bool, RedirectError>,
) -> Result<(), RedirectError> {
    for _ in 0..SAME_ENTRY_MAX {
        if !exists(family)? {
            return Ok(());
        }
        ip(family, object, "del", words)?;
    }
    Ok(())
}

fn rule_exists(family: Family) -> Result<bool, RedirectError> {
    Ok(!ip(family, "rule", "show", &RULE)?.trim().is_empty())
}

/// A table without any route is an error to `ip`, and no route to us.
fn route_exists(family: Family) -> Result<bool, RedirectError> {
    let output = run(family, "route", "show", &["table", ROUTE_TABLE])?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().any(|line| line.starts_with("local default dev lo")))
}

fn ip(family: Family, object: &str, action: &str, words: &[&str]) -> Result<String, RedirectError> {
    let output = run(family, object, action, words)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let doing = format!("{} {object} {action} {}", family.ip_option(), words.join(" "));
    Err(RedirectError::Tool { tool: "ip", doing, cause })
}

fn run(
    family: Family,
    object: &str,
    action: &str,
    words: &[&str],
) -> Result<std::process::Output, RedirectError> {
    let mut command = Command::new("ip");
    command.args([family.ip_option(), object, action]).args(words);
    command.output().map_err(|error| RedirectError::Unusable { tool: "ip", cause: error.to_string() })
}
