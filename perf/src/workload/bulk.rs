//! One stream, alone or beside others that hardly anybody reads.

use anyhow::{Result, ensure};

use super::ends::{play, throughput};
use super::{Outcome, Stage, Workload};
use crate::measure::Window;
use crate::protocol::Load;

/// Of the readers that are slow: enough that their streams always move, far too little to be seen in the ninth's.
const SLOW_BYTES_PER_S: usize = 256 << 10;

pub(super) const BULK: &[Workload] = &[
    Workload::of_a_pair(
        "bulk",
        "One stream from client to server.",
        "writes and reads of 128 KiB",
        |stage, window| bulk(stage, window, Load::Bulk),
    ),
    Workload::of_a_pair(
        "bulk-reverse",
        "One stream from server to client.",
        "writes and reads of 128 KiB",
        |stage, window| bulk(stage, window, Load::BulkReverse),
    ),
];

pub(super) const SLOW_READER: &[Workload] = &[Workload::of_a_pair(
    "slow-reader",
    "A stream from server to client beside four that are read at 256 KiB/s and four that nobody reads.",
    "what the ninth stream carries",
    slow_reader,
)];

fn bulk(stage: &Stage<'_>, window: &mut Window<'_>, load: Load) -> Result<Outcome> {
    let tally = play(stage, window, &[(0, load)])?;
    ensure!(tally.received_bytes > 0, "the stream stood still");
    Ok(throughput(&tally))
}

/// A ninth stream that stands still with the others is a result.
fn slow_reader(stage: &Stage<'_>, window: &mut Window<'_>) -> Result<Outcome> {
    let loads = [
        Load::StandingReaders { connections: 4 },
        Load::SlowReaders { connections: 4, bytes_per_s: SLOW_BYTES_PER_S },
        Load::BulkReverse,
    ];
    Ok(throughput(&play(stage, window, &loads.map(|load| (0, load)))?))
}
