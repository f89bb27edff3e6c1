//! What makes the figures of a run doubtful: others on the machine, and rounds that do not agree.

use super::board::{Section, is_headline};
use super::bootstrap;
use super::number;
use super::statistics::Spread;
use crate::machine::LOAD_AVERAGE_QUIET;
use crate::record::{Noise, Run};

/// A share of a core that others may take before the page says so.
const NOISE_CORES_QUIET: f64 = 0.05;

/// What was found; empty on a quiet machine.
pub(crate) fn doubts(run: &Run) -> Vec<String> {
    let mut doubts = Vec::new();
    if run.machine.load_average > LOAD_AVERAGE_QUIET {
        doubts.push(format!("load average {} before the run", run.machine.load_average));
    }
    let cores = |what: &str, of: fn(&Noise) -> f64| {
        let cores: Vec<f64> = run.samples.iter().map(|sample| of(&sample.noise)).collect();
        let Spread { median, max, .. } = Spread::of(&cores)?;
        (max > NOISE_CORES_QUIET).then(|| format!("{what} up to {max:.2} cores ({median:.2} in the median)"))
    };
    doubts.extend(cores("other processes took", |noise| noise.foreign_cores));
    doubts.extend(cores("the hypervisor took", |noise| noise.stolen_cores));
    doubts
}

/// One sentence: quiet or not.
pub(crate) fn sentence(run: &Run) -> String {
    let doubts = doubts(run);
    if doubts.is_empty() {
        return "The machine was quiet.".to_owned();
    }
    format!("The machine was not quiet, so this is a trial and not a measurement: {}.", doubts.join("; "))
}

/// How far the rounds of a figure lie apart: of half of all figures, and of the worst one.
pub(crate) fn agreement(sections: &[Section<'_>]) -> Option<String> {
    let mut widths: Vec<(f64, String)> = Vec::new();
    for section in sections {
        for line in &section.lines {
            for (figure, spread) in section.figures.iter().zip(&line.spreads) {
                let Some(spread) = spread.filter(|_| is_headline(figure)) else { continue };
                let place = format!("{} of {} in {}", figure.title, line.target.name, section.note.name);
                widths.push((spread.width(), place));
            }
        }
    }
    widths.sort_by(|(this, _), (that, _)| this.total_cmp(that));
    // Where all is alike to the last digit, there was one round.
    let (worst, place) = widths.last().filter(|(worst, _)| *worst > 0.0)?;
    let middle = widths[widths.len() / 2].0;
    Some(format!(
        "From the lowest round to the highest, half of the figures differ by less than {} of their median; the most, {}, \
         does the {place}.",
        share(middle),
        share(*worst)
    ))
}

fn share(width: f64) -> String {
    number::percent(width).trim_start_matches(['+', '±']).to_owned()
}

/// Whether so many rounds give ratios an interval.
pub(crate) fn has_intervals(rounds: usize) -> bool {
    rounds >= bootstrap::ROUNDS_MIN
}

/// What the intervals of a run mean.
pub(crate) fn meaning(rounds: usize) -> &'static str {
    match rounds {
        0..=4 => "With fewer than 5 rounds no interval is given and no difference is called one.",
        5 => {
            "With 5 rounds the interval of a ratio is the range of all rounds: a difference is called one only when every \
             round agrees, which without any difference happens in 1 of 16 comparisons."
        }
        _ => {
            "The interval of a ratio is where its median lies with a confidence of 95 % (bootstrap over the rounds); where \
             it spans 1, that is called no difference. Of 20 comparisons without any difference one is still called one."
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::{board, made_up};

    #[test]
    fn a_quiet_machine_is_called_quiet() {
        let run = made_up::run(&["direct"], &["bulk"], 5);
        assert_eq!(sentence(&run), "The machine was quiet.");
    }

    #[test]
    fn a_busy_machine_is_named_with_what_was_seen() {
        let mut run = made_up::run(&["direct"], &["bulk"], 5);
        run.machine.load_average = 6.3;
        run.samples[1].noise.foreign_cores = 0.5;
        run.samples[2].noise.stolen_cores = 0.25;
        let sentence = sentence(&run);
        for part in
            ["not quiet", "load average 6.3", "up to 0.50 cores (0.00 in", "hypervisor took up to 0.25"]
        {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }

    #[test]
    fn the_figure_whose_rounds_differ_most_is_named() {
        let mut run = made_up::run(&["direct", "ringway"], &["bulk"], 5);
        *run.samples[3].figures.get_mut("throughput_gbps").unwrap() *= 3.0;
        let agreement = agreement(&board::sections(&run)).unwrap();
        assert!(agreement.contains("throughput of ringway in bulk"), "{agreement}");
    }
}
