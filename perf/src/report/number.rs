//! How numbers are written: as many digits as they are worth.

/// Digits that count, of a figure and of a large or small ratio.
const DIGITS: i32 = 3;
const RATIO_DIGITS: i32 = 2;
/// From here on a change is a multiple and no longer a percentage.
const MULTIPLE: f64 = 3.0;

/// Three digits that count, thousands apart.
pub(crate) fn number(value: f64) -> String {
    digits(value, DIGITS)
}

fn digits(value: f64, count: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    // Rounding may carry into a new digit: 9.996 is 10.0 and not 10.00.
    let magnitude = |value: f64| value.abs().log10().floor() as i32;
    let step = 10_f64.powi(count - 1 - magnitude(value));
    let rounded = (value * step).round() / step;
    let decimals = (count - 1 - magnitude(rounded)).max(0) as usize;
    grouped(&format!("{value:.decimals$}"))
}

/// `123456.7` is `123,456.7`.
fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("−", whole));
    let mut text = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.map_or_else(|| text.clone(), |fraction| format!("{text}.{fraction}"))
}

/// How many times: two decimals near 1, and no digit that changes with the next run elsewhere.
pub(crate) fn ratio(value: f64) -> String {
    if (0.095..9.995).contains(&value) { format!("{value:.2}") } else { digits(value, RATIO_DIGITS) }
}

/// The same as a change: `+45 %`, `−3.1 %`, and `×51` or `÷51` where percentages say little.
pub(crate) fn change(ratio: f64) -> String {
    let [change] = changes([ratio]);
    change
}

/// Changes that are read together, in one notation: multiples where one of them is far from 1 and all are on its side.
pub(crate) fn changes<const N: usize>(ratios: [f64; N]) -> [String; N] {
    if ratios.iter().any(|&ratio| ratio >= MULTIPLE) && ratios.iter().all(|&ratio| ratio >= 1.0) {
        return ratios.map(|ratio| format!("×{}", digits(ratio, RATIO_DIGITS)));
    }
    let is_small = |&ratio: &f64| ratio > 0.0 && ratio <= 1.0 / MULTIPLE;
    if ratios.iter().any(is_small) && ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio) && *ratio > 0.0) {
        return ratios.map(|ratio| format!("÷{}", digits(1.0 / ratio, RATIO_DIGITS)));
    }
    ratios.map(|ratio| percent(ratio - 1.0))
}

/// How many of something, in the number that grammar asks for: `1 round`, `5 rounds`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A share as a percentage with its sign.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = usize::from(percent.abs() < 9.95);
    let text = format!("{:.decimals$}", percent.abs());
    let sign = match percent {
        _ if text.chars().all(|digit| matches!(digit, '0' | '.')) => "±",
        below if below < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{text} %")
}

/// Microseconds in the unit that people would say them in.
pub(crate) fn duration(us: f64) -> String {
    match us {
        long if long >= 1e6 => format!("{} s", number(long / 1e6)),
        middle if middle >= 1e3 => format!("{} ms", number(middle / 1e3)),
        short => format!("{} µs", number(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.9996, "1.00"),
            (9.876, "9.88"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (999.6, "1,000"),
            (139_382.4, "139,382"),
            (1_234_567.0, "1,234,567"),
            (-4.2, "−4.20"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn ratios_and_changes() {
        for (value, times, moved) in [
            (1.452, "1.45", "+45 %"),
            (0.969, "0.97", "−3.1 %"),
            (1.0, "1.00", "±0.0 %"),
            (0.9996, "1.00", "±0.0 %"),
            (1.0996, "1.10", "+10 %"),
            (51.0, "51", "×51"),
            (0.0149, "0.015", "÷67"),
        ] {
            assert_eq!((ratio(value).as_str(), change(value).as_str()), (times, moved));
        }
    }

    #[test]
    fn what_is_read_together_has_one_notation() {
        for (ratios, expected) in [
            ([0.39, 0.156, 0.40], ["÷2.6", "÷6.4", "÷2.5"]),
            ([2.5, 1.2, 6.4], ["×2.5", "×1.2", "×6.4"]),
            ([1.0, 0.2, 4.0], ["±0.0 %", "−80 %", "+300 %"]),
            ([0.9, 0.8, 1.1], ["−10 %", "−20 %", "+10 %"]),
            ([0.9, 0.0, 1.1], ["−10 %", "−100 %", "+10 %"]),
        ] {
            assert_eq!(changes(ratios), expected);
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!((counted(1, "round"), counted(2, "round")), ("1 round".to_owned(), "2 rounds".to_owned()));
    }

    #[test]
    fn durations_have_their_unit() {
        for (us, expected) in [(19.1, "19.1 µs"), (7_356.0, "7.36 ms"), (2.5e6, "2.50 s")] {
            assert_eq!(duration(us), expected);
        }
    }
}
