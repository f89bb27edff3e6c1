//! Reading one variable after the other while keeping every complaint.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{EnvironmentError, Problem};

/// The variables being read, and what was wrong with those read so far.
pub(super) struct Variables {
    all: BTreeMap<String, String>,
    problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Variables {
    pub(super) fn new(all: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { all: all.into_iter().collect(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// The value, without surrounding blanks; `None` if unset or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.all.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The variables whose names begin so, without that beginning; those that are empty are left out.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let named = self.all.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        let named = named.map(|(name, value)| (name[prefix.len()..].to_owned(), value.trim().to_owned()));
        named.filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect()
    }

    pub(super) fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    /// The value as `parse` understands it. A value it does not understand is kept as a problem and read as unset.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.text(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(accepted) => {
                self.refuse(name, Some(value), accepted.to_string());
                None
            }
        }
    }

    pub(super) fn refuse(&mut self, name: &'static str, value: Option<String>, accepted: impl Into<String>) {
        self.problems.push(Problem { name, value, accepted: accepted.into() });
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// What was read, if nothing was wrong.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, EnvironmentError> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(EnvironmentError(self.problems)),
        }
    }
}
