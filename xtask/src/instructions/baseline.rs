//! Counts that are written down, for later ones to be compared with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::callgrind::Count;
use super::environment::Environment;

/// Functions with less of a case than this are not written down.
const SHARE_MIN: f64 = 0.005;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Baseline {
    pub(super) environment: Environment,
    pub(super) cases: Vec<Case>,
}

/// One case. All counts are of one operation.
#[derive(Debug, PartialEq)]
pub(super) struct Case {
    pub(super) name: String,
    /// What is counted once.
    pub(super) operation: String,
    pub(super) instructions: f64,
    /// By name, those of some size, each without what it calls.
    pub(super) functions: BTreeMap<String, f64>,
}

impl Baseline {
    pub(super) fn new(environment: Environment, counts: &[Count]) -> Self {
        Self { environment, cases: counts.iter().map(Case::of).collect() }
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context("reading the baseline")?;
        Self::parse(&text).context("the baseline is not what this command writes")
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        fs::write(path, self.text()).with_context(|| format!("writing {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Table = toml::from_str(text)?;
        let facts = table.get("environment").and_then(Value::as_table).context("no environment")?;
        let environment = facts
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let cases = table.get("case").and_then(Value::as_array).context("no case")?;
        Ok(Self { environment, cases: cases.iter().map(Case::parse).collect::<Result<_>>()? })
    }

    fn text(&self) -> String {
        let mut text =
            "# Instructions of one operation of each case, and of its functions without what they call.\n\
                        # Written by `cargo xtask instructions --refresh`.\n\n[environment]\n"
                .to_owned();
        for (name, value) in &self.environment {
            let _ = writeln!(text, "{name} = {}", quoted(value));
        }
        for Case { name, operation, instructions, functions } in &self.cases {
            let _ = writeln!(text, "\n[[case]]\nname = {}\noperation = {}", quoted(name), quoted(operation));
            let _ = writeln!(text, "instructions = {instructions:.1}\n[case.functions]");
            for (name, count) in functions {
                let _ = writeln!(text, "{} = {count:.1}", quoted(name));
            }
        }
        text
    }
}

impl Case {
    fn of(count: &Count) -> Self {
        let Count { name, operation, operations, profile } = count;
        let of_one = |count: u64| count as f64 / *operations as f64;
        let instructions = of_one(profile.total);
        let functions = profile.functions.iter().map(|(name, count)| (name.clone(), of_one(*count)));
        Self {
            name: name.clone(),
            operation: operation.clone(),
            instructions,
            functions: functions.filter(|(_, count)| *count >= SHARE_MIN * instructions).collect(),
        }
    }

    fn parse(value: &Value) -> Result<Self> {
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str);
            text.map(str::to_owned).with_context(|| format!("a case without {key}"))
        };
        let name = text("name")?;
        let functions = value.get("functions").and_then(Value::as_table);
        let functions = functions.with_context(|| format!("{name} has no functions"))?;
        let counted = functions.iter().filter_map(|(name, count)| Some((name.clone(), count.as_float()?)));
        let instructions = value.get("instructions").and_then(Value::as_float);
        Ok(Self {
            operation: text("operation")?,
            instructions: instructions.with_context(|| format!("{name} has no instructions"))?,
            functions: counted.collect(),
            name,
        })
    }
}

/// A TOML string. Names of functions have no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::profile::Profile;
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was_without_small_functions() {
        let functions = [("<A as B<\"c\\d\">>::e", 9_990), ("small", 10), ("just", 50)];
        let functions = functions.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let count = Count {
            name: "route".to_owned(),
            operation: "one route".to_owned(),
            operations: 4,
            profile: Profile { total: 10_050, functions },
        };
        let environment = Environment::from([("rustc".to_owned(), "1.95.0".to_owned())]);
        let mut baseline = Baseline::new(environment, &[count]);
        assert_eq!(baseline.cases[0].instructions, 2_512.5);
        let names: Vec<_> = baseline.cases[0].functions.keys().collect();
        assert_eq!(names, ["<A as B<\"c\\d\">>::e"]);
        baseline.cases[0].functions.values_mut().for_each(|count| *count = count.round());
        assert_eq!(Baseline::parse(&baseline.text()).unwrap(), baseline);
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        for text in ["", "case = 1", "[environment]\n[[case]]\nname = \"a\"", "["] {
            assert!(Baseline::parse(text).is_err(), "{text:?}");
        }
    }
}
