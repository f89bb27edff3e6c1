//! Reading one variable after the other while keeping every complaint.

use std::fmt::Display;

use super::{EnvironmentError, Problem};

/// The variables being read, and what was wrong with those read so far.
pub(super) struct Variables<'l> {
    lookup: &'l dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'l> Variables<'l> {
    pub(super) fn new(lookup: &'l dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The value, without surrounding blanks; `None` if unset or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
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
