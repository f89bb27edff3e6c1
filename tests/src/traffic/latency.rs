//! Ping-pong on one connection: how long each exchange took.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The times of all exchanges, sorted.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The time that `percent` of the exchanges did not exceed; zero when there were none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    pub fn median(&self) -> Duration {
        self.percentile(50.0)
    }
}

/// Sends `message_bytes` to an echo server and waits for them, again and again for so long.
pub fn ping_pong(stream: &TcpStream, message_bytes: usize, duration: Duration) -> io::Result<Latencies> {
    let (mut reader, mut writer) = (stream, stream);
    let message = vec![b'.'; message_bytes];
    let mut answer = message.clone();
    let mut times = Vec::new();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < duration {
        writer.write_all(&message)?;
        reader.read_exact(&mut answer)?;
        let now = Instant::now();
        times.push(now - last);
        last = now;
    }
    Ok(Latencies::new(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let latencies = Latencies::new((1..=200).rev().map(Duration::from_micros).collect());
        let table = [(0.0, 1), (0.5, 1), (50.0, 100), (99.0, 198), (99.9, 200), (100.0, 200)];
        for (percent, expected) in table {
            assert_eq!(latencies.percentile(percent), Duration::from_micros(expected), "{percent} %");
        }
        assert_eq!(Latencies::default().median(), Duration::ZERO);
    }
}
