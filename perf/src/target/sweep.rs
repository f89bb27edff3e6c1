//! Short trials of buffer sizes: one stream from a client to its server for a moment with each, all sizes in turn and
//! that several times, so that a moment of noise is nobody's alone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::copies;
use crate::interrupt::wait_until;
use crate::site::Site;

const SIZES_KIB: [u32; 5] = [16, 32, 64, 128, 256];
const ROUNDS: usize = 3;
const TRIAL: Duration = Duration::from_millis(250);
/// How long a stream may take to arrive, and a byte of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of the application at each end.
const APPLICATION_BUFFER_LEN: usize = 128 * 1024;

/// What a size came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trial {
    pub(super) buffer_kib: u32,
    pub(super) gigabits_per_second: f64,
}

/// Tries all sizes on the first pair of a redirected site; the best comes first. `arguments` makes a copy's out of a
/// size's.
pub(super) fn run(site: &Site, arguments: impl Fn(String) -> Vec<String>) -> Result<Vec<Trial>> {
    let (client, server) = (&site.clients[0], &site.servers[0]);
    let mut trials = SIZES_KIB.map(|buffer_kib| Trial { buffer_kib, gigabits_per_second: 0.0 });
    for _ in 0..ROUNDS {
        for trial in &mut trials {
            let arguments = arguments(argument(trial.buffer_kib));
            let _server_side = copies::start_one("sealed", "server", server, &arguments)?;
            let _client_side = copies::start_one("sealed", "client", client, &arguments)?;
            trial.gigabits_per_second += stream(site)? / ROUNDS as f64;
        }
    }
    Ok(sorted(trials.to_vec()))
}

pub(super) fn argument(buffer_kib: u32) -> String {
    format!("--buffer-kib={buffer_kib}")
}

/// For the report.
pub(super) fn describe(trials: &[Trial]) -> String {
    let Some(best) = trials.first() else { return "not swept yet".to_owned() };
    let said = trials.iter().map(|trial| format!("{} {:.1}", trial.buffer_kib, trial.gigabits_per_second));
    let said: Vec<String> = said.collect();
    format!("buffers of {} KiB, the best of a sweep (KiB Gb/s: {})", best.buffer_kib, said.join(", "))
}

fn sorted(mut trials: Vec<Trial>) -> Vec<Trial> {
    trials.sort_by(|one, other| other.gigabits_per_second.total_cmp(&one.gigabits_per_second));
    trials
}

/// One stream for a moment; Gb/s.
fn stream(site: &Site) -> Result<f64> {
    let (client, server) = (&site.clients[0], &site.servers[0]);
    let listener = server.netns()?.enter(|| TcpListener::bind((server.ip, 0)))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let sender = client.netns()?.enter(|| TcpStream::connect(address))?;
    let receiver = wait_until("a stream through the sealed copy", PATIENCE, || Ok(listener.accept().ok()))?.0;
    receiver.set_nonblocking(false)?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    sender.set_write_timeout(Some(PATIENCE))?;
    let begin = Instant::now();
    let sending = thread::spawn(move || send(&sender, begin + TRIAL));
    let received = receive(&receiver).context("a stream through the sealed copy")?;
    let seconds = begin.elapsed().as_secs_f64();
    sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(received as f64 * 8.0 / 1e9 / seconds)
}

fn send(mut sender: &TcpStream, end: Instant) -> Result<()> {
    let buffer = vec![0x5a; APPLICATION_BUFFER_LEN];
    while Instant::now() < end {
        sender.write_all(&buffer)?;
    }
    Ok(sender.shutdown(Shutdown::Write)?)
}

fn receive(mut receiver: &TcpStream) -> Result<u64> {
    let mut buffer = vec![0; APPLICATION_BUFFER_LEN];
    let mut received = 0;
    loop {
        match receiver.read(&mut buffer)? {
            0 => return Ok(received),
            read => received += read as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_comes_first_and_all_are_told() {
        let trial = |buffer_kib, gigabits_per_second| Trial { buffer_kib, gigabits_per_second };
        let trials = sorted(vec![trial(16, 8.0), trial(64, 11.94), trial(256, 9.5)]);
        assert_eq!(
            describe(&trials),
            "buffers of 64 KiB, the best of a sweep (KiB Gb/s: 64 11.9, 256 9.5, 16 8.0)"
        );
        assert_eq!(describe(&[]), "not swept yet");
    }
}
