//! What applications get through the tunnel: curl, iperf3, and the time of a small exchange.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::curl;
use testkit::iperf::Iperf;
use testkit::traffic::latency::{Latencies, ping_pong};
use testkit::traffic::{connect, transfer};

use super::cluster::{Cluster, ECHO_PORT, EXCHANGE_PORT};
use crate::progress::Progress;

const IPERF_SECONDS: u32 = 3;
const PING_PONG_TIME: Duration = Duration::from_secs(2);
const MESSAGE_BYTES: usize = 64;
/// One transfer of the bulk that ping-pongs beside; repeated until the ping-pong ends.
const BULK_BYTES: u64 = 64 << 20;

pub(crate) fn render(cluster: &Cluster, progress: &Progress) -> Result<String> {
    let (web, shop) = (&cluster.web, &cluster.shop);
    let mut text = format!("{} -> {} through the tunnel, across nodes\n", web.spec.name, shop.spec.name);
    for address in [IpAddr::V4(shop.ipv4), IpAddr::V6(shop.ipv6)] {
        let url =
            if address.is_ipv6() { format!("http://[{address}]/") } else { format!("http://{address}/") };
        progress.step(&format!("curl {url}"));
        let fetched = curl::fetch(&web.netns, &url)?;
        let milliseconds = fetched.total.as_secs_f64() * 1e3;
        text +=
            &format!("  curl {url:<20} {}, {} B, {milliseconds:.2} ms\n", fetched.status, fetched.body_bytes);
    }
    for streams in [1, 8] {
        let said = if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
        text += &format!("  iperf3 {said:<9}, {IPERF_SECONDS} s    ");
        for (reverse, way) in [(false, "->"), (true, "<-")] {
            progress.step(&format!("iperf3, {said} {way}"));
            let iperf = Iperf { streams, seconds: IPERF_SECONDS, reverse };
            let measured = iperf.run(&web.netns, IpAddr::V4(shop.ipv4))?;
            text += &format!(" {way} {:6.2} Gb/s  ", measured.bits_per_second / 1e9);
        }
        text += "\n";
    }
    progress.step("ping-pong alone");
    let stream = connect(&web.netns, (shop.ipv4, ECHO_PORT))?;
    let alone = ping_pong(&stream, MESSAGE_BYTES, PING_PONG_TIME)?;
    text += &line("alone", &alone);
    progress.step("ping-pong beside a bulk transfer");
    text += &line("beside a bulk transfer", &beside_bulk(cluster)?);
    Ok(text)
}

/// Ping-pong while a transfer goes both ways between the same two pods.
fn beside_bulk(cluster: &Cluster) -> Result<Latencies> {
    let (web, shop) = (&cluster.web, &cluster.shop);
    let stream = connect(&web.netns, (shop.ipv4, ECHO_PORT))?;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bulk = scope.spawn(|| -> Result<()> {
            while !ended.load(Ordering::Acquire) {
                let stream = connect(&web.netns, (shop.ipv4, EXCHANGE_PORT))?;
                transfer::exchange(&stream, BULK_BYTES).context("the bulk transfer")?;
            }
            Ok(())
        });
        let latencies = ping_pong(&stream, MESSAGE_BYTES, PING_PONG_TIME);
        ended.store(true, Ordering::Release);
        bulk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(latencies?)
    })
}

fn line(what: &str, latencies: &Latencies) -> String {
    let milliseconds = |percent| latencies.percentile(percent).as_secs_f64() * 1e3;
    format!(
        "  {MESSAGE_BYTES} B ping-pong {what:<23} median {:.3} ms   99 % {:.3} ms   {} exchanges\n",
        milliseconds(50.0),
        milliseconds(99.0),
        latencies.count(),
    )
}
