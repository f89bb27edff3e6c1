//! Latency by quantile: time on a logarithmic scale, and an axis of nines, on which 99 %, 99.9 % and 99.99 % are as far
//! apart as they feel. A line is the median of the rounds; the band of ours is their range.

use std::fmt::Write;

use super::{class, escape};
use crate::record::{Point, Run};
use crate::report::board::Section;
use crate::report::number::duration;
use crate::report::statistics::Spread;

/// Points of a line for each nine.
const POINTS_PER_NINE: f64 = 16.0;
/// Beyond 99.999 % no run is long enough.
const NINES_MAX: f64 = 5.0;
/// Of the drawing, in its own units.
const SIDE: f64 = 1000.0;
/// The least distance between two names at the ends of lines, as a share of the height.
const NAMES_APART: f64 = 0.062;
/// What is marked below.
const MARKS: [(f64, &str); 6] = [
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

/// One target's line.
struct Curve<'r> {
    target: &'r str,
    /// By the grid of nines.
    spreads: Vec<Spread>,
}

/// Where values are on the drawing.
struct Axes {
    nines: f64,
    /// Of the lowest and the highest value.
    logs: (f64, f64),
}

/// Empty for a workload without latencies.
pub(super) fn chart(run: &Run, section: &Section<'_>) -> String {
    let curves: Vec<Curve<'_>> =
        section.lines.iter().filter_map(|line| curve(run, &section.note.name, &line.target.name)).collect();
    let Some(axes) = Axes::around(&curves) else { return String::new() };
    let lines: String = curves.iter().enumerate().map(|(at, curve)| line(curve, at, &axes)).collect();
    format!(
        "<figure class=\"chart curves\"><figcaption>latency by quantile</figcaption>\n<div class=\"plot\">\
         <div class=\"ticks\">{}</div>\n<svg class=\"area\" width=\"100%\" height=\"280\" role=\"img\" \
         aria-label=\"Latency by quantile; the table has the numbers\">{}\
         <svg viewBox=\"0 0 {SIDE} {SIDE}\" width=\"100%\" height=\"100%\" preserveAspectRatio=\"none\">{lines}</svg></svg>\n\
         <div class=\"ends\">{}</div>\n<div class=\"marks\">{}</div></div></figure>\n",
        axes.times(),
        axes.grid(),
        ends(&curves, &axes),
        axes.marks()
    )
}

fn curve<'r>(run: &'r Run, workload: &str, target: &'r str) -> Option<Curve<'r>> {
    let own = run.samples.iter().filter(|sample| sample.workload == workload && sample.target == target);
    let rounds: Vec<Vec<(f64, f64)>> =
        own.map(|sample| by_nines(&sample.curve)).filter(|points| points.len() > 1).collect();
    let nines = rounds.iter().filter_map(|points| points.last()).map(|(nines, _)| *nines);
    let nines = nines.reduce(f64::min)?.min(NINES_MAX);
    let grid = (0..=(nines * POINTS_PER_NINE) as usize).map(|step| step as f64 / POINTS_PER_NINE);
    let spreads = grid.filter_map(|nines| {
        let values: Vec<f64> = rounds.iter().map(|points| value_at(points, nines)).collect();
        Spread::of(&values)
    });
    Some(Curve { target, spreads: spreads.collect() })
}

/// Quantiles as nines; the longest of all has infinitely many and is left out.
fn by_nines(curve: &[Point]) -> Vec<(f64, f64)> {
    let points = curve.iter().filter(|point| (0.0..1.0).contains(&point.quantile) && point.us > 0.0);
    points.map(|point| (nines(point.quantile), point.us)).collect()
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Between two points the time grows by the same factor for each step.
fn value_at(points: &[(f64, f64)], nines: f64) -> f64 {
    let after = points.partition_point(|(at, _)| *at < nines).clamp(1, points.len() - 1);
    let ((left, low), (right, high)) = (points[after - 1], points[after]);
    if right <= left {
        return high;
    }
    let share = ((nines - left) / (right - left)).clamp(0.0, 1.0);
    low * (high / low).powf(share)
}

impl Axes {
    fn around(curves: &[Curve<'_>]) -> Option<Self> {
        let spreads = || curves.iter().flat_map(|curve| &curve.spreads);
        let low = spreads().map(|spread| spread.min).reduce(f64::min)?;
        let high = spreads().map(|spread| spread.max).reduce(f64::max)?;
        let longest = curves.iter().map(|curve| curve.spreads.len()).max()?;
        let nines = (longest.saturating_sub(1)) as f64 / POINTS_PER_NINE;
        (nines > 0.0).then_some(Self { nines, logs: ((low / 1.2).log10(), (high * 1.2).log10()) })
    }

    /// From the left, as a share.
    fn x(&self, nines: f64) -> f64 {
        nines / self.nines
    }

    /// From the top, as a share.
    fn y(&self, us: f64) -> f64 {
        (self.logs.1 - us.log10()) / (self.logs.1 - self.logs.0)
    }

    /// Times that are marked: decades, and what is between them where there are few.
    fn ticks(&self) -> Vec<f64> {
        let between: &[f64] = if self.logs.1 - self.logs.0 > 2.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = self.logs.0.floor() as i32..=self.logs.1.ceil() as i32;
        let all = decades.flat_map(|decade| between.iter().map(move |digit| digit * 10_f64.powi(decade)));
        all.filter(|us| (self.logs.0..=self.logs.1).contains(&us.log10())).collect()
    }

    fn times(&self) -> String {
        let tick = |us: f64| {
            let text = duration(us).replace(".00", "").replace(".0", "");
            format!("<span style=\"top:{:.2}%\">{text}</span>", 100.0 * self.y(us))
        };
        self.ticks().into_iter().map(tick).collect()
    }

    fn shown_marks(&self) -> impl Iterator<Item = (f64, &'static str)> {
        let nines = self.nines;
        MARKS
            .into_iter()
            .map(|(quantile, name)| (self::nines(quantile), name))
            .filter(move |(at, _)| *at <= nines + 1e-9)
    }

    fn marks(&self) -> String {
        let mark = |(at, name): (f64, &str)| {
            format!("<span style=\"left:{:.2}%\">{name}</span>", 100.0 * self.x(at))
        };
        self.shown_marks().map(mark).collect()
    }

    fn grid(&self) -> String {
        let mut lines = String::from("<g class=\"grid\">");
        for us in self.ticks() {
            let y = 100.0 * self.y(us);
            let _ = write!(lines, "<line x1=\"0\" x2=\"100%\" y1=\"{y:.2}%\" y2=\"{y:.2}%\"/>");
        }
        for (at, _) in self.shown_marks() {
            let x = 100.0 * self.x(at);
            let _ = write!(lines, "<line x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>");
        }
        lines + "</g>"
    }
}

fn line(curve: &Curve<'_>, at: usize, axes: &Axes) -> String {
    let point = |(step, us): (usize, f64)| {
        let nines = step as f64 / POINTS_PER_NINE;
        format!("{:.1},{:.1}", SIDE * axes.x(nines), SIDE * axes.y(us))
    };
    let points = |of: fn(&Spread) -> f64| -> Vec<String> {
        curve.spreads.iter().map(of).enumerate().map(point).collect()
    };
    let class = class(curve.target);
    let name = escape(curve.target);
    let mut drawn = String::new();
    if class == "ours" {
        let mut around = points(|spread| spread.min);
        around.extend(points(|spread| spread.max).into_iter().rev());
        drawn += &format!("<polygon class=\"band\" points=\"{}\"/>", around.join(" "));
    }
    let path = points(|spread| spread.median).join(" ");
    drawn
        + &format!(
            "<polyline class=\"{class} dash{}\" points=\"{path}\"><title>{name}</title></polyline>",
            at % 5
        )
}

/// The names where the lines end, moved apart where they would cover each other.
fn ends(curves: &[Curve<'_>], axes: &Axes) -> String {
    let mut ends: Vec<(f64, &str)> = curves
        .iter()
        .filter_map(|curve| Some((axes.y(curve.spreads.last()?.median), curve.target)))
        .collect();
    ends.sort_by(|(this, _), (that, _)| this.total_cmp(that));
    for at in 1..ends.len() {
        ends[at].0 = ends[at].0.max(ends[at - 1].0 + NAMES_APART);
    }
    // What was pushed out below is pushed back, and pushes those above it.
    let mut below = 1.0;
    for end in ends.iter_mut().rev() {
        end.0 = end.0.min(below);
        below = end.0 - NAMES_APART;
    }
    let name = |(top, target): (f64, &str)| {
        format!(
            "<span class=\"{}\" style=\"top:{:.2}%\">{}</span>",
            class(target),
            100.0 * top,
            escape(target)
        )
    };
    ends.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(quantile: f64, us: f64) -> Point {
        Point { quantile, us }
    }

    #[test]
    fn a_nine_is_one_step() {
        for (quantile, expected) in [(0.0, 0.0), (0.9, 1.0), (0.99, 2.0), (0.9999, 4.0)] {
            assert!((nines(quantile) - expected).abs() < 1e-9, "{quantile}");
        }
    }

    #[test]
    fn between_points_the_time_grows_evenly_on_the_scale() {
        let points = by_nines(&[point(0.0, 1.0), point(0.9, 10.0), point(0.99, 1000.0), point(1.0, 1e9)]);
        assert_eq!(points.len(), 3, "the longest is beyond the axis");
        for (nines, expected) in [(0.0, 1.0), (0.5, 10_f64.sqrt()), (1.5, 100.0), (9.0, 1000.0)] {
            assert!((value_at(&points, nines) - expected).abs() < 1e-6, "{nines}");
        }
    }

    #[test]
    fn points_at_one_quantile_are_no_division_by_zero() {
        let points = by_nines(&[point(0.5, 1.0), point(0.5, 2.0), point(0.5, 3.0)]);
        assert!([0.3, nines(0.5)].iter().all(|at| value_at(&points, *at).is_finite()));
    }

    #[test]
    fn names_at_the_ends_do_not_cover_each_other() {
        let flat = |target, us| Curve { target, spreads: vec![Spread { median: us, min: us, max: us }; 33] };
        let curves = [flat("a", 100.0), flat("b", 101.0), flat("c", 102.0)];
        let axes = Axes::around(&curves).expect("invariant: there are points");
        let ends = ends(&curves, &axes);
        let tops: Vec<f64> =
            ends.split("top:").skip(1).filter_map(|part| part.split_once('%')?.0.parse().ok()).collect();
        assert!(tops.len() == 3 && tops[1] - tops[0] > 6.0 && tops[2] - tops[1] > 6.0, "{tops:?}");
        assert!(tops[0] >= 0.0 && tops[2] <= 100.0, "{tops:?}");
    }
}
