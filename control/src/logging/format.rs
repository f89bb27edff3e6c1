//! One event as one line: `<time>\t<level>\t<target>\t<message>\t<field>=<value> …`, or the same as a JSON object.
//!
//! Strings are quoted and escaped in both, so that a value chosen by a peer can neither begin a line nor a field.

use std::fmt::{self, Debug};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Where the time of a line comes from.
pub(crate) type Clock = fn() -> OffsetDateTime;

pub(super) fn system_clock() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// RFC 3339 in UTC with microseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

fn time_text(clock: Clock) -> Result<String, fmt::Error> {
    clock().format(TIME).map_err(|_| fmt::Error)
}

fn level_text(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// The part of the program a line is from, without the crate's name.
fn scope(target: &str) -> &str {
    ["control::", "ringway::"].iter().find_map(|name| target.strip_prefix(name)).unwrap_or(target)
}

/// Lines with tabs between their parts.
pub(super) struct PlainLines(pub(super) Clock);

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (time, level) = (time_text(self.0)?, level_text(*metadata.level()));
        write!(writer, "{time}\t{level}\t{}", scope(metadata.target()))?;
        let mut fields = PlainFields { writer: &mut writer, separator: "\t", result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        writer.write_char('\n')
    }
}

/// Writes the message bare and every other field as `name=value`, in the order they come: the message is first.
struct PlainFields<'w, 'b> {
    writer: &'w mut Writer<'b>,
    /// What stands before the next field.
    separator: &'static str,
    result: fmt::Result,
}

impl Visit for PlainFields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_err() {
            return;
        }
        if field.name() == "message" {
            self.result = write!(self.writer, "\t{value:?}");
            return;
        }
        self.result = write!(self.writer, "{}{}={value:?}", self.separator, field.name());
        self.separator = " ";
    }
}

/// Lines that are JSON objects: level, time, scope, message, then the fields.
pub(super) struct JsonLines(pub(super) Clock);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (time, level) = (time_text(self.0)?, level_text(*metadata.level()));
        write!(writer, "{{\"level\":\"{level}\",\"time\":\"{time}\",\"scope\":")?;
        write_json(&mut writer, &Value::from(scope(metadata.target())))?;
        let mut fields = JsonFields { writer: &mut writer, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        writer.write_str("}\n")
    }
}

struct JsonFields<'w, 'b> {
    writer: &'w mut Writer<'b>,
    result: fmt::Result,
}

impl JsonFields<'_, '_> {
    fn put(&mut self, field: &Field, value: &Value) {
        self.result = self.result.and_then(|()| {
            self.writer.write_char(',')?;
            write_json(self.writer, &Value::from(field.name()))?;
            self.writer.write_char(':')?;
            write_json(self.writer, value)
        });
    }
}

impl Visit for JsonFields<'_, '_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &Value::from(format!("{value:?}")));
    }
}

fn write_json(writer: &mut Writer<'_>, value: &Value) -> fmt::Result {
    write!(writer, "{value}")
}
