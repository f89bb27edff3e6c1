//! What ringway does again and again, piece by piece: each piece is counted in instructions (`cargo xtask
//! instructions`) and timed by criterion (`--bench layers`) with the same code and the same input.
//!
//! The input is the same in every run: keys, addresses and draws are fixed, and there is one thread. What is left to chance
//! is the seed of the hash maps in a snapshot, so a piece that looks something up does so for many keys.

mod frames;
mod headers;
mod mesh;
mod records;
mod tunnel;

use crate::MESSAGE_BYTES;
use crate::aead::RECORD_BYTES;

/// One piece of what the data plane does.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// What is counted once.
    pub operation: &'static str,
    /// How many are counted together: enough that the first ones do not matter.
    pub operations: usize,
    open: fn() -> Box<dyn Work>,
}

/// A case with what it works on.
pub trait Work {
    /// Makes ready what so many operations use up, and takes away what those before left: not measured.
    fn prepare(&mut self, operations: usize);

    fn run(&mut self, operations: usize);
}

/// In the order in which they are reported.
pub const CASES: &[Case] = &[
    Case {
        name: "seal-record",
        operation: "16 KiB sealed into one record",
        operations: 200,
        open: || Box::new(records::Seal::new(RECORD_BYTES)),
    },
    Case {
        name: "seal-message",
        operation: "64 B sealed into one record",
        operations: 5_000,
        open: || Box::new(records::Seal::new(MESSAGE_BYTES)),
    },
    Case {
        name: "open-record",
        operation: "a record of 16 KiB opened in place",
        operations: 200,
        open: || Box::new(records::Open::new(RECORD_BYTES)),
    },
    Case {
        name: "open-message",
        operation: "a record of 64 B opened in place",
        operations: 5_000,
        open: || Box::new(records::Open::new(MESSAGE_BYTES)),
    },
    Case {
        name: "frame-build",
        operation: "a DATA frame of 64 B written",
        operations: 10_000,
        open: || Box::new(frames::Build::new()),
    },
    Case {
        name: "frame-parse",
        operation: "a DATA frame of 64 B read, its credit given back",
        operations: 10_000,
        open: || Box::new(frames::Parse::new()),
    },
    Case {
        name: "stream",
        operation: "CONNECT, 200 and both ends, read and written on both sides",
        operations: 500,
        open: || Box::new(frames::Streams::new()),
    },
    Case {
        name: "hpack-encode",
        operation: "the header section of a CONNECT written",
        operations: 5_000,
        open: || Box::new(headers::Encode::new()),
    },
    Case {
        name: "hpack-decode",
        operation: "the same section read",
        operations: 5_000,
        open: || Box::new(headers::Decode::new()),
    },
    Case {
        name: "hpack-decode-huffman",
        operation: "three sections with Huffman codes and a dynamic table read (RFC 7541 C.4)",
        operations: 2_000,
        open: || Box::new(headers::DecodeHuffman::new()),
    },
    Case {
        name: "route-workload",
        operation: "the route to one of 10,000 workloads",
        operations: 5_000,
        open: || Box::new(mesh::Routes::to_workloads()),
    },
    Case {
        name: "route-service",
        operation: "the route to one of 500 services of 20 workloads",
        operations: 2_000,
        open: || Box::new(mesh::Routes::to_services()),
    },
    Case {
        name: "authorise",
        operation: "a connection judged by ten policies, of which the last allows it",
        operations: 5_000,
        open: || Box::new(mesh::Authorise::new()),
    },
    Case {
        name: "snapshot-swap",
        operation: "one of 10,000 workloads changed, the snapshot published, the old one dropped",
        operations: 6_000,
        open: || Box::new(mesh::Swap::new()),
    },
    Case {
        name: "exchange",
        operation: "64 B to the server and 64 B back: sessions and records of both ends",
        operations: 2_000,
        open: || Box::new(tunnel::Exchange::new()),
    },
    Case {
        name: "bulk",
        operation: "a frame of 64 KiB to the server: sessions and records of both ends",
        operations: 100,
        open: || Box::new(tunnel::Bulk::new()),
    },
];

impl Case {
    pub fn by_name(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// Ready to run: it has run once, so that its memory has its size.
    pub fn open(&self) -> Box<dyn Work> {
        let mut work = (self.open)();
        work.prepare(self.operations);
        work.run(self.operations);
        work
    }
}

/// Runs so many operations, which have to be prepared. Counting tools are told to count in the function of this name only:
/// it stays one, with `run` inside.
#[inline(never)]
pub fn counted_operations(work: &mut dyn Work, operations: usize) {
    work.run(std::hint::black_box(operations));
    std::hint::black_box(());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_again_and_again() {
        // Each checks what it did itself.
        for case in CASES {
            let mut work = case.open();
            for operations in [1, 3, case.operations, 7] {
                work.prepare(operations);
                counted_operations(work.as_mut(), operations);
            }
        }
    }

    #[test]
    fn names_tell_cases_apart() {
        for case in CASES {
            assert_eq!(Case::by_name(case.name).map(|found| found.operation), Some(case.operation));
        }
        assert!(Case::by_name("none").is_none());
    }
}
