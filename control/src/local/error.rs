//! What is wrong with a local file, in words for whoever wrote it.

use thiserror::Error;

use super::WatchError;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LocalError {
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The text does not say what it has to.
    #[error("{file}:{line}:{column}: {problem}")]
    Syntax { file: String, line: usize, column: usize, problem: String },
    /// Every line is well-formed, but together they make no sense.
    #[error("{file}: {problem}")]
    Meaning { file: String, problem: String },
}

/// Problems of one file that are told together.
const PROBLEMS_NAMED_MAX: usize = 16;

impl LocalError {
    /// Everything that makes no sense; there is at least one.
    pub(super) fn meanings(file: &str, problems: &[String]) -> Self {
        let mut problem =
            problems.iter().take(PROBLEMS_NAMED_MAX).cloned().collect::<Vec<_>>().join("; also ");
        if let Some(more) = problems.len().checked_sub(PROBLEMS_NAMED_MAX).filter(|more| *more > 0) {
            problem += &format!("; and {more} more");
        }
        Self::meaning(file, problem)
    }

    pub(super) fn meaning(file: &str, problem: impl Into<String>) -> Self {
        Self::Meaning { file: file.to_owned(), problem: problem.into() }
    }

    pub(super) fn syntax(file: &str, error: &serde_norway::Error) -> Self {
        let Some(location) = error.location() else {
            return Self::meaning(file, error.to_string());
        };
        let (line, column) = (location.line(), location.column());
        // The location is in front already.
        let text = error.to_string();
        let problem = text.replace(&format!(" at line {line} column {column}"), "");
        Self::Syntax { file: file.to_owned(), line, column, problem }
    }
}
