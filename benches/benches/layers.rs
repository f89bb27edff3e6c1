//! Wall time of the layers, by criterion.

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
        for layer in Layer::ALL {
            let mut step = layer.open();
            group.bench_function(layer.name(), |bencher| bencher.iter(|| step.bulk(frame_bytes, FRAMES)));
        }
        group.finish();
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("{MESSAGE_BYTES} B messages"));
    group.throughput(Throughput::Elements(2 * EXCHANGES as u64));
    for layer in Layer::ALL {
        let mut step = layer.open();
        group.bench_function(layer.name(), |bencher| bencher.iter(|| step.exchange(EXCHANGES)));
    }
    group.finish();
}

criterion_group!(layers, bulk, messages);
criterion_main!(layers);
