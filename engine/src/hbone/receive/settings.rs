//! SETTINGS (RFC 9113 §6.5).

use super::Step;
use crate::hbone::error::Fault;
use crate::hbone::event::Event;
use crate::hbone::flood::Flood;
use crate::hbone::frame::{self, ACK, Head, Kind};
use crate::hbone::session::Session;
use crate::hbone::settings::{Announced, PARAMETER_BYTES};
use crate::hbone::stream::StreamId;
use crate::hbone::{Sink, limits};

impl Session {
    pub(super) fn begin_settings<'i>(&mut self, head: Head) -> Result<Step<'i>, Fault> {
        if head.stream != StreamId::CONNECTION {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(ACK) && head.length > 0 {
            return Err(Fault::frame_size("an acknowledgement of SETTINGS with a payload"));
        }
        if !(head.length as usize).is_multiple_of(PARAMETER_BYTES) {
            return Err(Fault::frame_size("SETTINGS with a part of a parameter"));
        }
        self.floods.spend(Flood::Settings)?;
        self.incoming.announced = Announced::default();
        Ok(Step::Continue)
    }

    pub(super) fn settings<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        while self.incoming.left > 0 {
            let Some(parameter) = self.incoming.payload::<PARAMETER_BYTES>(input) else {
                return Ok(Step::Starved);
            };
            self.incoming.announced.parameter(parameter, self.role)?;
        }
        self.incoming.finish();
        if self.incoming.head.has(ACK) {
            self.settings_acknowledged();
            return Ok(Step::Continue);
        }
        self.apply_settings()?;
        // RFC 9113 §6.5.3
        frame::put_small(out, Kind::Settings, ACK, StreamId::CONNECTION, []);
        Ok(Step::Event(Event::Settings))
    }

    fn apply_settings(&mut self) -> Result<(), Fault> {
        let announced = self.incoming.announced;
        if let Some(window) = announced.stream_window() {
            // RFC 9113 §6.9.2: every stream's window moves by the difference, below zero if need be.
            let difference = i64::from(window) - i64::from(self.peer.stream_window);
            let mut shifted = Ok(());
            self.streams
                .for_each_mut(|stream| shifted = shifted.and_then(|()| stream.send.shift(difference)));
            shifted.map_err(|_| Fault::flow_control("SETTINGS raised a window above 2^31-1"))?;
        }
        if !self.peer_settings_seen {
            self.peer_settings_seen = true;
            // RFC 9113 §6.5.2: no limit, unless these SETTINGS name one.
            self.peer.streams_max = u32::MAX;
        }
        self.peer.apply(&announced);
        Ok(())
    }

    /// Our SETTINGS have reached the peer, which from now on knows the window of a stream. An acknowledgement of
    /// nothing is spent as a SETTINGS frame and otherwise ignored.
    fn settings_acknowledged(&mut self) {
        let before = self.stream_window();
        self.settings_acknowledged = true;
        let lowered = before - self.stream_window();
        debug_assert!(lowered < limits::INITIAL_WINDOW_BYTES);
        if lowered > 0 {
            self.streams.for_each_mut(|stream| stream.receive.lower(lowered));
        }
    }
}
