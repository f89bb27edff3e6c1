//! Runs for tests: nothing in them was measured.

use crate::machine::Machine;
use crate::record::{Build, Encryption, Plan, Point, Run, SCHEMA, Sample, Subject, WorkloadNote};

/// How much more a target moves than ztunnel here.
fn speed(target: &str) -> f64 {
    match target {
        "direct" => 6.0,
        "ztunnel" => 1.0,
        "ringway:aes256" => 1.3,
        _ => 1.4,
    }
}

/// From -1 to 1, different for each sample and always the same.
fn noise(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((mixed ^ (mixed >> 32)) % 2_001) as f64 / 1_000.0 - 1.0
}

/// A machine that is quiet, and nothing measured on it.
pub(crate) fn empty() -> Run {
    Run {
        schema: SCHEMA,
        machine: machine(),
        plan: Plan::default(),
        cut_short: None,
        targets: Vec::new(),
        workloads: Vec::new(),
        samples: Vec::new(),
        left_out: Vec::new(),
    }
}

fn machine() -> Machine {
    Machine {
        date: "2026-11-27T00:00:00+00:00".to_owned(),
        kernel: "Linux 6.0 made up".to_owned(),
        cpu: "a CPU that does not exist".to_owned(),
        cpu_flags: vec!["aes".to_owned(), "vaes".to_owned()],
        cores: 2,
        cores_used: vec![0, 1],
        memory: "8 GB".to_owned(),
        ..Machine::default()
    }
}

/// Every workload through every target in every round, with 2 % of noise.
pub(crate) fn run(targets: &[&str], workloads: &[&str], rounds: usize) -> Run {
    noisy(targets, workloads, rounds, 0.02, 0)
}

/// The same with noise of another size and another seed.
pub(crate) fn noisy(targets: &[&str], workloads: &[&str], rounds: usize, share: f64, seed: u64) -> Run {
    let mut samples = Vec::new();
    for round in 0..rounds {
        for &workload in workloads {
            for &target in targets {
                let own = seed.wrapping_mul(1_000_003) + samples.len() as u64;
                samples.push(sample(round, target, workload, 1.0 + share * noise(own)));
            }
        }
    }
    let plan = Plan {
        command: ["ringway-perf", "run"].map(str::to_owned).to_vec(),
        rounds,
        seconds: 5.0,
        warm_up_seconds: 1.0,
        threads: 2,
        site: "one node to another, native".to_owned(),
    };
    let note = |&name: &&str| WorkloadNote {
        name: name.to_owned(),
        title: format!("The workload {name}."),
        command: "iperf3 -t 30 -P 4".to_owned(),
    };
    Run {
        plan,
        targets: targets.iter().map(|name| subject(name)).collect(),
        workloads: workloads.iter().map(note).collect(),
        samples,
        ..empty()
    }
}

fn subject(name: &str) -> Subject {
    let suite = match name {
        "direct" | "plain" | "sealed" => None,
        "ztunnel" | "ringway:aes256" => Some("TLS_AES_256_GCM_SHA384"),
        _ => Some("TLS_AES_128_GCM_SHA256"),
    };
    Subject {
        name: name.to_owned(),
        build: Build {
            version: format!("{name} 1.0"),
            sha256: "0123456789ab".to_owned(),
            notes: String::new(),
        },
        encryption: match name {
            "sealed" => Encryption::Sealed,
            _ if suite.is_some() => Encryption::Tunnel,
            _ => Encryption::None,
        },
        suite: suite.map(str::to_owned),
    }
}

fn sample(round: usize, target: &str, workload: &str, noise: f64) -> Sample {
    let cost = noise / speed(target);
    let speed = speed(target) * noise;
    let latency = 1_000.0 / speed;
    let mut figures: Vec<(&str, f64)> = match workload {
        "bulk" => vec![("throughput_gbps", 4.0 * speed)],
        "idle" => vec![("bytes_per_connection", 20_000.0 / speed), ("rss_mb", 20.0)],
        _ => vec![
            ("rate_per_s", 20_000.0 * speed),
            ("latency_p50_us", latency),
            ("latency_p99_us", 2.0 * latency),
            ("latency_p99_9_us", 4.0 * latency),
        ],
    };
    if target != "direct" && workload != "idle" {
        figures.extend(cpu(workload, cost));
    }
    let with_curve = figures.iter().any(|(key, _)| key.starts_with("latency"));
    Sample {
        round,
        target: target.to_owned(),
        workload: workload.to_owned(),
        seconds: 5.0,
        figures: figures.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        curve: if with_curve { curve(latency) } else { Vec::new() },
        ..Sample::default()
    }
}

fn cpu(workload: &str, cost: f64) -> [(&'static str, f64); 5] {
    if workload == "bulk" {
        return [
            ("cpu_s_per_gb", 2.4 * cost),
            ("cpu_client_user_s_per_gb", 0.5 * cost),
            ("cpu_client_system_s_per_gb", 0.9 * cost),
            ("cpu_server_user_s_per_gb", 0.4 * cost),
            ("cpu_server_system_s_per_gb", 0.6 * cost),
        ];
    }
    [
        ("cpu_us_per_op", 50.0 * cost),
        ("cpu_client_user_us_per_op", 10.0 * cost),
        ("cpu_client_system_us_per_op", 15.0 * cost),
        ("cpu_server_user_us_per_op", 10.0 * cost),
        ("cpu_server_system_us_per_op", 15.0 * cost),
    ]
}

/// Ten times as long for each nine.
fn curve(median: f64) -> Vec<Point> {
    [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0]
        .into_iter()
        .enumerate()
        .map(|(at, quantile)| Point { quantile, us: median * 2_f64.powi(at as i32 - 1) })
        .collect()
}
