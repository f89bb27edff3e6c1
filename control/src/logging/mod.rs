//! Log lines as ztunnel writes them, and a writer that no caller ever waits for.
//!
//! `init` once at start; the returned guard is kept until the end of the process and writes out what is left.

mod filter;
mod format;
mod writer;

use std::io;

use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::environment::{LogFormat, LogSettings};

pub use filter::{FilterError, LiveFilter, live};
use format::{Clock, JsonLines, PlainLines, system_clock};
pub use writer::LogGuard;

/// The filter without `RUST_LOG`.
pub const FILTER_DEFAULT: &str = "info";

#[derive(Debug, Error)]
pub enum LogError {
    #[error("the log writer's thread does not start: {0}; raise the limit of threads (ulimit -u, pids.max)")]
    Thread(#[from] io::Error),
    #[error("logging was set up before in this process")]
    Again,
}

/// Starts logging to standard output, for the whole process.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let (lines, guard) = writer::start(io::stdout())?;
    let (filter, handle) = reload::Layer::new(initial_filter(settings));
    let layer = formatted(settings.format, lines, system_clock).with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|_| LogError::Again)?;
    filter::keep(LiveFilter::new(handle, &settings.filter));
    Ok(guard)
}

/// Whether a filter can be read; if not, why.
pub fn check_filter(text: &str) -> Result<(), String> {
    // A word alone is a level: as the name of a target, which it could also be, it would silence everything else.
    let word = text.split(',').map(str::trim).find(|part| {
        !part.is_empty() && !part.contains(['=', '[', ':']) && part.parse::<LevelFilter>().is_err()
    });
    if let Some(word) = word {
        return Err(format!(
            "{word} is no level: must be off, error, warn, info, debug or trace, or TARGET=LEVEL"
        ));
    }
    EnvFilter::try_new(text)
        .map(|_| ())
        .map_err(|error| format!("must be a log filter such as info or info,access=off ({error})"))
}

fn initial_filter(settings: &LogSettings) -> EnvFilter {
    EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT))
}

/// The layer that formats events and hands each line to `writer`.
fn formatted<S, W>(format: LogFormat, writer: W, clock: Clock) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'l> LookupSpan<'l>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Plain => Box::new(base.event_format(PlainLines(clock))),
        LogFormat::Json => Box::new(base.event_format(JsonLines(clock))),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Log lines caught in memory, at a fixed time.
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::sync::{Arc, LazyLock, Mutex};

    use time::OffsetDateTime;
    use tracing::Dispatch;
    use tracing_subscriber::Registry;

    use super::*;

    /// A subscriber beside that of a test, on no thread. With one subscriber alone tracing asks the thread that first comes
    /// to a line whether anybody wants it, and remembers the answer for all threads: one of another test has no subscriber.
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));

    #[derive(Clone, Default)]
    struct Caught(Arc<Mutex<Vec<u8>>>);

    impl Write for Caught {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fixed_clock() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(1_732_183_257_012_345_678).unwrap()
    }

    /// A filter that can be changed, and the layer that it is for: both live equally long.
    pub(crate) fn live_filter(initial: &str) -> (reload::Layer<EnvFilter, Registry>, LiveFilter) {
        let (layer, handle) = reload::Layer::new(EnvFilter::new(initial));
        (layer, LiveFilter::new(handle, initial))
    }

    /// What is logged while `act` runs.
    pub(crate) fn logged(format: LogFormat, filter: &str, act: impl FnOnce()) -> String {
        LazyLock::force(&ANOTHER);
        let caught = Caught::default();
        let writer = caught.clone();
        let settings = LogSettings { filter: filter.to_owned(), format, findings_at_info: false };
        let layer = formatted(settings.format, move || writer.clone(), fixed_clock);
        let layer = layer.with_filter(initial_filter(&settings));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let bytes = caught.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::logged;
    use super::*;

    #[test]
    fn plain_lines_have_tabs_between_their_parts() {
        let lines = logged(LogFormat::Plain, "info", || {
            tracing::info!(target: "control::pods", uid = "a-b", "pod added");
            tracing::warn!(target: "access", text = "line\nbreak\t\"quoted\"", count = 3_u64, "odd");
            tracing::debug!("not at this level");
            tracing::error!(target: "start", "no fields");
        });
        assert_eq!(
            lines,
            "2024-11-21T10:00:57.012345Z\tinfo\tpods\tpod added\tuid=\"a-b\"\n\
             2024-11-21T10:00:57.012345Z\twarn\taccess\todd\ttext=\"line\\nbreak\\t\\\"quoted\\\"\" count=3\n\
             2024-11-21T10:00:57.012345Z\terror\tstart\tno fields\n"
        );
    }

    #[test]
    fn json_lines_are_objects_in_a_fixed_order() {
        let lines = logged(LogFormat::Json, "info", || {
            let address = std::net::Ipv4Addr::LOCALHOST;
            tracing::warn!(target: "access", text = "line\n\"q\"", count = 3_u64, less = -1_i64, yes = true, %address, "odd");
        });
        assert_eq!(
            lines,
            "{\"level\":\"warn\",\"time\":\"2024-11-21T10:00:57.012345Z\",\"scope\":\"access\",\"message\":\"odd\",\
             \"text\":\"line\\n\\\"q\\\"\",\"count\":3,\"less\":-1,\"yes\":true,\"address\":\"127.0.0.1\"}\n"
        );
    }

    /// Tests run beside each other, and most have no subscriber.
    #[test]
    fn a_line_that_another_thread_comes_to_first_is_caught_all_the_same() {
        let tell = || tracing::info!("told");
        let lines = logged(LogFormat::Plain, "info", || {
            std::thread::scope(|scope| _ = scope.spawn(tell));
            tell();
        });
        assert_eq!(lines.matches("told").count(), 1, "{lines}");
    }

    #[test]
    fn the_filter_selects_by_target() {
        let lines = logged(LogFormat::Plain, "info,access=off", || {
            tracing::info!(target: "access", "hidden");
            tracing::info!(target: "start", "seen");
        });
        assert!(lines.contains("seen") && !lines.contains("hidden"), "{lines}");
    }

    #[test]
    fn a_bad_filter_is_told() {
        assert!(check_filter("info,access=off").is_ok());
        assert!(check_filter("access=loud").is_err_and(|why| why.contains("log filter")));
    }
}
