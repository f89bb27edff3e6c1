//! Wall time by criterion: of the layers, and of every case whose instructions are counted.

use std::time::{Duration, Instant};

use benches::case::CASES;
use benches::{LARGE_FRAME_BYTES, Layer, MESSAGE_BYTES, SMALL_FRAME_BYTES};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Frames of one iteration: enough for several turns.
const FRAMES: usize = 64;
/// Exchanges of one iteration.
const EXCHANGES: usize = 100;

fn bulk(criterion: &mut Criterion) {
    for (name, frame_bytes) in [("16 KiB frames", SMALL_FRAME_BYTES), ("64 KiB frames", LARGE_FRAME_BYTES)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes((FRAMES * frame_bytes) as u64));
        for &layer in Layer::ALL {
            let mut step = layer.open();
            group.bench_function(layer.name(), |bencher| bencher.iter(|| step.bulk(frame_bytes, FRAMES)));
        }
        group.finish();
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("{MESSAGE_BYTES} B messages"));
    group.throughput(Throughput::Elements(2 * EXCHANGES as u64));
    for &layer in Layer::ALL {
        let mut step = layer.open();
        group.bench_function(layer.name(), |bencher| bencher.iter(|| step.exchange(EXCHANGES)));
    }
    group.finish();
}

fn cases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cases");
    for case in CASES {
        let mut work = case.open();
        group.bench_function(case.name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut elapsed = Duration::ZERO;
                let mut left = iterations as usize;
                while left > 0 {
                    let operations = left.min(case.operations);
                    work.prepare(operations);
                    let begin = Instant::now();
                    work.run(operations);
                    elapsed += begin.elapsed();
                    left -= operations;
                }
                elapsed
            });
        });
    }
    group.finish();
}

criterion_group!(layers, bulk, messages, cases);
criterion_main!(layers);
