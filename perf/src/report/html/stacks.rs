//! What the proxies used of the CPU: client's and server's side, user and kernel apart, one on the other.

use super::bars::{frame, row};
use super::class;
use crate::report::board::{Line, Section};
use crate::report::number::number;

/// One part of a bar: its key before the unit, its name, its class.
const PARTS: [(&str, &str, &str); 4] = [
    ("cpu_client_user", "client's side, user", "client"),
    ("cpu_client_system", "client's side, kernel", "client system"),
    ("cpu_server_user", "server's side, user", "server"),
    ("cpu_server_system", "server's side, kernel", "server system"),
];

/// The end of the keys, the title and the unit of each chart.
const CHARTS: [(&str, &str, &str); 2] =
    [("s_per_gb", "CPU of the proxies", "s/GB"), ("us_per_op", "CPU of the proxies", "µs/operation")];

pub(super) fn charts(section: &Section<'_>) -> String {
    CHARTS.iter().map(|(end, title, unit)| chart(section, end, title, unit)).collect()
}

fn chart(section: &Section<'_>, end: &str, title: &str, unit: &str) -> String {
    let places = PARTS.map(|(key, _, _)| section.place(&format!("{key}_{end}")));
    let total = section.place(&format!("cpu_{end}"));
    let parts = |line: &Line<'_>| places.map(|place| line.median(place).unwrap_or_default());
    let used: Vec<_> = section
        .lines
        .iter()
        .map(|line| (line, parts(line)))
        .filter(|(_, parts)| parts.iter().sum::<f64>() > 0.0)
        .collect();
    let scale = used.iter().map(|(_, parts)| parts.iter().sum()).fold(0.0, f64::max);
    if used.is_empty() {
        return String::new();
    }
    let rows: String = used
        .iter()
        .map(|(line, parts)| {
            let sum = line.median(total).unwrap_or_else(|| parts.iter().sum());
            row(class(&line.target.name), &line.target.name, &stack(*parts, scale), &number(sum))
        })
        .collect();
    frame(title, unit, &rows, &legend())
}

/// Medians of parts need not add up to the median of the whole: the length is the parts', the number the whole's.
fn stack(parts: [f64; 4], scale: f64) -> String {
    let mut drawn = String::new();
    let mut begin = 0.0;
    for (part, (_, name, class)) in parts.into_iter().zip(PARTS) {
        let width = 100.0 * part / scale;
        let place = format!("x=\"{begin:.2}%\" y=\"2\" width=\"{width:.2}%\" height=\"14\"");
        drawn +=
            &format!("<rect class=\"part {class}\" {place}><title>{name}: {}</title></rect>", number(part));
        if class.ends_with("system") {
            drawn += &format!("<rect fill=\"url(#hatch)\" {place} pointer-events=\"none\"/>");
        }
        begin += width;
    }
    format!("<svg class=\"bar stack\" width=\"100%\" height=\"18\" aria-hidden=\"true\">{drawn}</svg>")
}

fn legend() -> String {
    let entry = |(_, name, class): (&str, &str, &str)| {
        let hatch = if class.ends_with("system") {
            "<rect fill=\"url(#hatch)\" width=\"12\" height=\"12\"/>"
        } else {
            ""
        };
        format!(
            "<span><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect class=\"part {class}\" width=\"12\" \
             height=\"12\"/>{hatch}</svg>{name}</span>"
        )
    };
    format!("<div class=\"legend peer\">{}</div>\n", PARTS.map(entry).concat())
}
