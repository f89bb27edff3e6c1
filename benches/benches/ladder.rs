//! The ladder as one table: CPU seconds per gigabyte, nanoseconds per message, allocations, both ends together.
//!
//! `cargo bench -p benches --bench ladder [-- --rounds 9 --megabytes 1000]`. The layers take turns, round by round, and
//! the median of the rounds is printed.

use benches::allocations::Counting;
use benches::cost::{self, Cost};
use benches::{LARGE_FRAME_BYTES, Layer, SMALL_FRAME_BYTES, Step};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Exchanges of two messages a round.
const EXCHANGES: usize = 100_000;

/// Columns: frames of both sizes, then messages.
const BULKS: [usize; 2] = [SMALL_FRAME_BYTES, LARGE_FRAME_BYTES];

struct Arguments {
    rounds: usize,
    megabytes: usize,
}

/// Cost of each round: of the two bulks per frame, and of a message.
type Rounds = [Vec<Cost>; 3];

fn main() {
    let arguments = arguments();
    let mut layers: Vec<(Layer, Box<dyn Step>, Rounds)> =
        Layer::ALL.iter().map(|&layer| (layer, layer.open(), Rounds::default())).collect();
    for round in 0..=arguments.rounds {
        for (_, step, costs) in &mut layers {
            let measured = measure(step.as_mut(), arguments.megabytes);
            // The first round warms up.
            if round > 0 {
                costs.iter_mut().zip(measured).for_each(|(column, cost)| column.push(cost));
            }
        }
    }
    print(&layers, &arguments);
}

/// Per frame of each size, and per message.
fn measure(step: &mut dyn Step, megabytes: usize) -> [Cost; 3] {
    let bulk = |step: &mut dyn Step, frame_bytes: usize| {
        let frames = (megabytes * 1_000_000).div_ceil(frame_bytes);
        per(cost::of(|| step.bulk(frame_bytes, frames)), frames)
    };
    let bulks = BULKS.map(|frame_bytes| bulk(step, frame_bytes));
    let messages = per(cost::of(|| step.exchange(EXCHANGES)), 2 * EXCHANGES);
    [bulks[0], bulks[1], messages]
}

fn per(cost: Cost, count: usize) -> Cost {
    let count = count as f64;
    Cost { cpu_seconds: cost.cpu_seconds / count, allocations: cost.allocations / count }
}

fn print(layers: &[(Layer, Box<dyn Step>, Rounds)], arguments: &Arguments) {
    println!(
        "Both ends, one thread, AES-128-GCM; medians of {} rounds of {} MB.\n",
        arguments.rounds, arguments.megabytes
    );
    println!(
        "| | CPU s/GB, 16 KiB frames | CPU s/GB, 64 KiB frames | ns per 64 B message | allocations per frame, 16 KiB | 64 KiB | per message |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (layer, _, [small, large, message]) in layers {
        let cpu = |costs: &[Cost]| cost::median(costs.iter().map(|cost| cost.cpu_seconds).collect());
        let allocations = |costs: &[Cost]| cost::median(costs.iter().map(|cost| cost.allocations).collect());
        println!(
            "| {layer} | {:.3} | {:.3} | {:.0} | {:.2} | {:.2} | {:.2} |",
            cpu(small) * 1e9 / SMALL_FRAME_BYTES as f64,
            cpu(large) * 1e9 / LARGE_FRAME_BYTES as f64,
            cpu(message) * 1e9,
            allocations(small),
            allocations(large),
            allocations(message),
        );
    }
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { rounds: 9, megabytes: 1000 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let place = match name.as_str() {
            "--rounds" => &mut arguments.rounds,
            "--megabytes" => &mut arguments.megabytes,
            // What cargo adds to every bench.
            "--bench" => continue,
            other => exit_with(&format!("what is {other:?}?")),
        };
        let value = given.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        *place = value.unwrap_or_else(|| exit_with(&format!("{name} wants a number")));
    }
    arguments
}

fn exit_with(message: &str) -> ! {
    eprintln!("ladder: {message}; it takes --rounds N and --megabytes N");
    std::process::exit(2)
}
