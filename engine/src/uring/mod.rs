//! The driver: all socket I/O, timers and sleeping of one shard, over one `io_uring`.
//!
//! A shard owns one [`Driver`] and calls [`Driver::turn`] in a loop. What it wants done meanwhile is only noted; a turn
//! hands all of it to the kernel in one `io_uring_enter`, takes what completed and gives it to the shard, either as a
//! [`Completion`] with the [`Token`] the shard chose (the table of established connections), or by waking a future
//! (set-up of a connection). Nothing here knows what the bytes mean.
//!
//! ```text
//!   Driver::recv, send, cancel, …        Driver::turn
//!            │                     ┌──────────┴───────────────────────────────┐
//!            ▼                     ▼                                          ▼
//!   ops (slab) ── pending ──▶ submit: SQE ──▶ enter ──▶ CQE ──▶ dispatch ──▶ Completion, waker
//!            ▲                                                    │
//!            └────────── starving ◀── no buffer left ─────────────┘   buffers ──▶ Lease
//! ```
//!
//! What holds throughout:
//! - An op lives in a slot of `ops` from the call that asks for it to its final completion, and the slot owns what the
//!   kernel may touch (send buffer, socket address). Dropping a future leaves the slot behind until that completion.
//! - No borrow of the driver's state is held while code of the caller runs (completion handler, waker, drop of either),
//!   so that code may call any method.
//! - The kernel works for us only inside `turn`: with DEFER_TASKRUN nothing is received between two turns.

#![allow(unsafe_code)]

mod buffers;
mod completion;
mod counters;
mod dispatch;
mod doorbell;
mod driver;
mod futures;
mod ops;
pub mod preflight;
mod ring;
mod submit;
mod timers;
#[cfg(debug_assertions)]
mod witness;

pub use buffers::{GroupConfig, Lease, ROOM_BYTES};
pub use completion::{Completion, Received, RecvMode, Token};
pub use counters::Counters;
pub use doorbell::Doorbell;
pub use driver::{Driver, DriverConfig, DriverError};
pub use ops::OpId;
pub use timers::TimerId;

#[cfg(test)]
mod tests;
