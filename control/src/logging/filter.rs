//! The log filter of the running process: what it is, and how it is changed without a restart.

use std::sync::{Mutex, OnceLock, PoisonError};

use thiserror::Error;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::reload::Handle;

/// The longest filter that is taken: nobody needs more than a few dozen targets.
const FILTER_BYTES_MAX: usize = 4_096;

/// That of this process, once logging was set up.
static PROCESS: OnceLock<LiveFilter> = OnceLock::new();

/// A filter that is in force, and can be changed.
#[derive(Debug)]
pub struct LiveFilter {
    handle: Handle<EnvFilter, Registry>,
    /// As it was at the start.
    initial: String,
    current: Mutex<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    #[error("{0}")]
    Unreadable(String),
    #[error("a filter has at most {FILTER_BYTES_MAX} bytes; reset it first")]
    TooLong,
    #[error("logging has ended")]
    Ended,
}

/// The filter of this process; none before logging was set up.
pub fn live() -> Option<&'static LiveFilter> {
    PROCESS.get()
}

pub(super) fn keep(filter: LiveFilter) {
    // `init` has made sure that there is one at most.
    let _ = PROCESS.set(filter);
}

impl LiveFilter {
    pub(super) fn new(handle: Handle<EnvFilter, Registry>, initial: &str) -> Self {
        Self { handle, initial: initial.to_owned(), current: Mutex::new(initial.to_owned()) }
    }

    /// In the syntax of `RUST_LOG`.
    pub fn current(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds directives to the filter: to the present one, or with `reset` to that of the start. One that names the same
    /// target as an earlier one replaces it.
    pub fn change(&self, reset: bool, directives: &str) -> Result<(), FilterError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let base = if reset { &self.initial } else { &*current };
        let filter = merged(base, directives);
        if filter.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        super::check_filter(&filter).map_err(FilterError::Unreadable)?;
        let parsed = EnvFilter::try_new(&filter);
        let parsed = parsed.map_err(|error| FilterError::Unreadable(error.to_string()))?;
        self.handle.reload(parsed).map_err(|_| FilterError::Ended)?;
        *current = filter;
        Ok(())
    }
}

/// `target:level`, as ztunnel takes it, is `target=level`.
fn merged(base: &str, added: &str) -> String {
    let added: Vec<String> =
        added.split(',').map(str::trim).filter(|part| !part.is_empty()).map(directive).collect();
    let replaced = |part: &&str| added.iter().any(|new| target(new) == target(part));
    let kept = base.split(',').filter(|part| !part.is_empty() && !replaced(part)).map(str::to_owned);
    let kept: Vec<String> = kept.collect();
    [kept, added].concat().join(",")
}

fn directive(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((target, level)) if !target.ends_with(':') && !text.contains('=') => format!("{target}={level}"),
        _ => text.to_owned(),
    }
}

/// What a directive is about; nothing for a level alone, which is about everything else.
fn target(directive: &str) -> &str {
    match directive.rsplit_once('=') {
        Some((target, _)) => target,
        None if directive.parse::<LevelFilter>().is_ok() => "",
        None => directive,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::reload;

    use super::*;

    #[test]
    fn directives_add_up() {
        for (base, added, expected) in [
            ("info", "", "info"),
            ("info", "debug", "debug"),
            ("info", "access=off", "info,access=off"),
            ("info,access=off", "access=debug", "info,access=debug"),
            ("info,access=off", "warn", "access=off,warn"),
            ("info", "control::pods:debug,access:off", "info,control::pods=debug,access=off"),
            ("info", "control::pods", "info,control::pods"),
        ] {
            assert_eq!(merged(base, added), expected, "{base} and {added}");
        }
    }

    #[test]
    fn a_change_is_in_force_at_once_and_a_reset_takes_it_back() {
        let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
        let filter = LiveFilter::new(handle, "info");
        let subscriber = tracing_subscriber::registry().with(layer);
        let on = || tracing::enabled!(tracing::Level::DEBUG);
        tracing::subscriber::with_default(subscriber, || {
            assert!(!on());
            filter.change(false, "debug").unwrap();
            assert!(on());
            assert_eq!(filter.current(), "debug");
            assert!(matches!(filter.change(false, "access=loud"), Err(FilterError::Unreadable(_))));
            assert_eq!(filter.change(false, &"x".repeat(FILTER_BYTES_MAX)), Err(FilterError::TooLong));
            assert_eq!(filter.current(), "debug", "what could not be followed changed nothing");
            filter.change(true, "").unwrap();
            assert!(!on());
            assert_eq!(filter.current(), "info");
        });
    }
}
