//! What callgrind writes, function by function.
//!
//! ```text
//! summary: 620                          all that was counted
//! fn=(7) engine::mesh::route::route     a name is written once, then only its number
//! 161 8                                 a line and its instructions; +N, -N, * are relative lines
//! cfn=(9) malloc                        a call from here:
//! calls=2 0                             the next line holds what it took in the function that was called,
//! 162 90                                which is counted there
//! ```

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

/// Instructions of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) total: u64,
    /// By name, each without what it calls; recursive calls are with the first.
    pub(super) functions: BTreeMap<String, u64>,
}

impl Profile {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut profile = Self::default();
        let mut total = None;
        let mut function = "";
        let mut of_a_call = false;
        for line in text.lines() {
            if let Some(sum) = line.strip_prefix("summary: ") {
                total = Some(sum.parse().with_context(|| format!("the sum {line:?}"))?);
            } else if let Some(named) = line.strip_prefix("fn=") {
                function = name(&mut names, named)?;
            } else if let Some(named) = line.strip_prefix("cfn=") {
                name(&mut names, named)?;
            } else if line.starts_with("calls=") {
                of_a_call = true;
            } else if is_cost(line) && !std::mem::take(&mut of_a_call) {
                let function = without_recursion(function).to_owned();
                *profile.functions.entry(function).or_default() += cost(line)?;
            }
        }
        profile.total = total.context("there is no summary")?;
        if profile.total == 0 {
            bail!("nothing was counted: is the function that was to be counted still one of its own?");
        }
        let sum: u64 = profile.functions.values().sum();
        if sum != profile.total {
            bail!("the functions have {sum} instructions together, the summary {}", profile.total);
        }
        Ok(profile)
    }
}

/// The function meant by `(7) name`, or by `(7)` after that.
fn name<'t>(names: &mut HashMap<&'t str, &'t str>, named: &'t str) -> Result<&'t str> {
    match named.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            Ok(name)
        }
        None => names.get(named).copied().with_context(|| format!("a function {named} without a name")),
    }
}

/// Callgrind tells the levels of a recursion apart by `'2`.
fn without_recursion(function: &str) -> &str {
    match function.rsplit_once('\'') {
        Some((name, level)) if !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => function,
    }
}

/// Whether a line begins with where in the source it is.
fn is_cost(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*'))
}

/// The instructions of a line of costs.
fn cost(line: &str) -> Result<u64> {
    let cost = line.split(' ').nth(1).unwrap_or("0");
    cost.parse().with_context(|| format!("the cost {line:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What callgrind 3.19 wrote of `instructions run frame-build`.
    const RECORDED: &str = include_str!("recorded.out");

    #[test]
    fn a_recorded_output_is_read() {
        let profile = Profile::parse(RECORDED).unwrap();
        let functions: Vec<_> =
            profile.functions.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(profile.total, 2_720_037);
        assert_eq!(
            functions,
            [
                ("<alloc::vec::Vec<u8> as engine::hbone::Sink>::put", 520_000),
                ("<benches::case::frames::Build as benches::case::Work>::run", 520_029),
                ("__memcpy_avx_unaligned_erms", 230_000),
                ("benches::case::counted_operations", 8),
                ("engine::hbone::send::<impl engine::hbone::session::Session>::data_frame", 1_450_000),
            ]
        );
    }

    #[test]
    fn what_a_call_took_counts_where_it_was_called() {
        let text = "summary: 31\nfn=(1) outer\n10 5\n+1 6\ncfn=(2) inner'2\ncalls=3 0\n* 20\nfn=(2)\n7 10\n\
                    fn=(3) inner\n-2 8\n+3 2\n";
        let profile = Profile::parse(text).unwrap();
        let functions = BTreeMap::from([("outer".to_owned(), 11), ("inner".to_owned(), 20)]);
        assert_eq!(profile, Profile { total: 31, functions });
    }

    #[test]
    fn an_output_that_counts_nothing_or_otherwise_is_refused() {
        let error = |text: &str| Profile::parse(text).unwrap_err().to_string();
        assert_eq!(error("fn=(1) a\n1 2\n"), "there is no summary");
        assert!(error("summary: 0\n").contains("nothing was counted"));
        assert!(error("summary: 5\nfn=(1) a\n1 2\n").contains("2 instructions together, the summary 5"));
        assert!(error("summary: 5\nfn=(1)\n1 2\n").contains("without a name"));
    }
}
