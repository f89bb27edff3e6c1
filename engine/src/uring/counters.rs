//! What a driver counts: plain integers of one thread, read by the shard when it is asked for them.

use std::cell::Cell;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the driver did since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same while they are being counted.
        #[derive(Debug, Default)]
        pub(super) struct Counting {
            $(pub(super) $name: Cell<u64>,)*
        }

        impl Counting {
            pub(super) fn read(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Calls of `Driver::turn`.
    turns,
    /// `io_uring_enter` system calls, of whatever kind.
    enters,
    /// Enters that were allowed to sleep.
    waits,
    /// Entries given to the kernel.
    sqes,
    /// Completions taken from the kernel.
    cqes,
    /// Turns that found completions beyond the completion queue's size.
    overflows,
    /// Enters that the kernel refused for want of memory; tried again.
    refused,
    /// Completions of operations that are no longer known. Not zero means a defect.
    stale,
    accepted,
    recvs_chatty,
    recvs_bulk,
    bytes_in_chatty,
    bytes_in_bulk,
    /// Sends that ended, well or not.
    sends,
    /// Sends the kernel took a part of only, continued by the driver.
    sends_short,
    bytes_out,
    /// Direct sends (`Driver::try_send`).
    sends_direct,
    bytes_out_direct,
    /// Receives that found no buffer in their group (ENOBUFS).
    starved,
    /// Receives and accepts ended by the kernel and armed again by the driver.
    rearmed,
    cancels,
    /// Cancels that did not find their operation at the first try.
    cancels_again,
    doorbells,
    timers,
}

/// Adds to a counter.
pub(super) trait Count {
    fn add(&self, n: u64);

    fn one(&self) {
        self.add(1);
    }
}

impl Count for Cell<u64> {
    fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }
}
