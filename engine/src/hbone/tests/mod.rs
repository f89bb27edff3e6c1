//! The session as a whole: what each rule of RFC 9113 does, limits, hand-over, and the h2 crate as the other end.
#![allow(clippy::unwrap_used)]

mod client_rules;
mod floods;
mod flow_control;
mod garbage;
mod h2_client;
mod h2_server;
mod late_frames;
mod leaving;
mod pair;
mod peers;
mod random;
mod rig;
mod server_rules;
mod written;
