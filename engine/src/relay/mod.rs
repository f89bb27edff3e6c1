//! The two byte pumps: application to tunnel, tunnel to application; and socket to socket for what is not tunnelled.

mod delivery;
mod ending;
mod half_closed;
mod happening;
mod incoming;
mod intake;
mod outgoing;
mod outlet;
mod pair;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use delivery::Piece;
pub(crate) use half_closed::{HALF_CLOSED_CAUSE, HalfClosed};
pub(crate) use happening::Happening;
pub(crate) use intake::Intake;
pub(crate) use outlet::Outlet;
pub(crate) use pair::{Pair, Way};
pub(crate) use stream::{BulkWatch, Held, Opened, Phase, Refused, Relay};
