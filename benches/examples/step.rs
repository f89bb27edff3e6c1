//! One layer doing one thing, for tools that count instructions:
//! `valgrind --tool=callgrind target/release/examples/step LAYER small|large|message COUNT`.

use std::process::ExitCode;

use benches::{LARGE_FRAME_BYTES, Layer, SMALL_FRAME_BYTES};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("step: {message}; it takes LAYER small|large|message COUNT");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("no {what} given"));
    let mut step = next("layer")?.parse::<Layer>()?.open();
    let work = next("work")?;
    let count = next("count")?.parse().map_err(|error| format!("the count: {error}"))?;
    match work.as_str() {
        "small" => step.bulk(SMALL_FRAME_BYTES, count),
        "large" => step.bulk(LARGE_FRAME_BYTES, count),
        "message" => step.exchange(count),
        other => return Err(format!("what is {other:?}?")),
    }
    Ok(())
}
