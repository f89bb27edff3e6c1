//! Our client and our server, with random schedules, windows and hand-overs.

use super::super::*;
use super::peers::{Application, Client, Server, receive};
use super::random::{Random, content_bytes_max};
use super::rig::frames;

/// One end: a session, its application and what it wrote.
struct End<A> {
    session: Session,
    application: A,
    out: Vec<u8>,
}

impl<A: Application> End<A> {
    /// Takes a piece of what the other end wrote.
    fn take_from<B>(&mut self, other: &mut End<B>, random: &mut Random) {
        if other.out.is_empty() {
            return;
        }
        let length = other.out.len().min(random.length(50_000));
        let piece: Vec<u8> = other.out.drain(..length).collect();
        receive(&mut self.session, &mut self.application, &piece, random, &mut self.out);
    }
}

/// Settings with windows of any size. The greeting of [`Server`] needs a few bytes at once.
fn any_settings(base: Settings, random: &mut Random) -> Settings {
    let stream_window = random.window();
    let credit_batch = 1 + random.below(stream_window as usize) as u32;
    Settings { stream_window, credit_batch, streams_max: 1 + random.below(20) as u32, ..base }
}

fn converse(seed: u64) {
    let mut random = Random::new(seed);
    let mut out = Vec::new();
    let ours = any_settings(Settings::client(), &mut random);
    let theirs = any_settings(Settings::server(), &mut random);
    let session = Session::client(&ours, &mut out);
    let bytes_max = content_bytes_max(ours.stream_window, theirs.stream_window);
    let mut client = End { session, application: Client::new(20, bytes_max, &mut random), out };
    let mut out = Vec::new();
    let session = Session::server(&theirs, &mut out);
    let mut server = End { session, application: Server::new(&mut random), out };

    let mut turns = 0;
    while !client.application.is_done() || server.session.open_streams() > 0 || !client.out.is_empty() {
        match random.below(4) {
            0 => client.take_from(&mut server, &mut random),
            1 => server.take_from(&mut client, &mut random),
            2 => drop(client.application.turn(&mut client.session, &mut client.out)),
            _ => drop(server.application.turn(&mut server.session, &mut server.out)),
        }
        turns += 1;
        assert!(turns < 2_000_000, "the conversation of seed {seed} came to a standstill");
    }
    client.application.check(&server.application.kept);
    while !server.out.is_empty() {
        client.take_from(&mut server, &mut random);
    }
    assert_eq!((client.session.open_streams(), server.session.open_streams()), (0, 0));
}

#[test]
fn conversations() {
    for seed in 0..150 {
        converse(seed);
    }
}

#[test]
fn two_ends_agree_on_their_first_words() {
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let mut client = Session::client(&Settings::client(), &mut from_client);
    let mut server = Session::server(&Settings::server(), &mut from_server);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (input_server, input_client) =
            (std::mem::take(&mut from_client), std::mem::take(&mut from_server));
        let mut rest = &input_server[..];
        while server.next(&mut rest, &mut from_server).unwrap().is_some() {}
        let mut rest = &input_client[..];
        while client.next(&mut rest, &mut from_client).unwrap().is_some() {}
        kinds.extend(frames(&from_client).into_iter().chain(frames(&from_server)).map(|(head, _)| head));
    }
    assert_eq!(kinds.len(), 2, "an acknowledgement each, and silence: {kinds:?}");
    assert_eq!(client.capacity(), limits::STREAMS_MAX as usize);
    assert!(client.settings_acknowledged && server.settings_acknowledged);
}
