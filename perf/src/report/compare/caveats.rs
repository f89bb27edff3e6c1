//! What else differs between two runs than what is compared.

use crate::machine::Machine;
use crate::record::{Run, Subject};
use crate::report::noise;

/// One sentence each, the one that always holds first.
pub(super) fn caveats(before: &Run, after: &Run) -> Vec<String> {
    let mut caveats = vec![
        "The two were not measured beside each other: whatever else changed on the machine between them is in these \
         figures. For a verdict, measure both builds in one run."
            .to_owned(),
    ];
    caveats.extend(differences("Different machines", machine(&before.machine), machine(&after.machine)));
    caveats.extend(differences("Different plans", plan(before), plan(after)));
    caveats.extend(after.targets.iter().filter_map(|target| suite(before, target)));
    for (name, run) in [("A", before), ("B", after)] {
        caveats.extend(run.cut_short_in_words().map(|said| format!("{name}: {said}")));
        if !noise::doubts(run).is_empty() {
            caveats.push(format!("{name}: {}", noise::sentence(run)));
        }
    }
    caveats.extend(only(before, after, "A"));
    caveats.extend(only(after, before, "B"));
    caveats
}

fn differences<const N: usize>(
    what: &str,
    before: [(&str, String); N],
    after: [(&str, String); N],
) -> Option<String> {
    let pairs = before.into_iter().zip(after).filter(|((_, before), (_, after))| before != after);
    let differences: Vec<String> =
        pairs.map(|((name, before), (_, after))| format!("{name} {before} in A, {after} in B")).collect();
    (!differences.is_empty()).then(|| format!("{what}: {}.", differences.join("; ")))
}

fn machine(machine: &Machine) -> [(&'static str, String); 8] {
    [
        ("kernel", machine.kernel.clone()),
        ("CPU", machine.cpu.clone()),
        ("CPU flags", machine.cpu_flags.join(" ")),
        ("cores", machine.cores_in_words()),
        ("memory", machine.memory.clone()),
        ("mitigations", format!("{:?}", machine.mitigations)),
        ("governor", machine.governor.clone().unwrap_or_else(|| "none".to_owned())),
        ("clock", machine.clock_source.clone().unwrap_or_else(|| "unknown".to_owned())),
    ]
}

fn plan(run: &Run) -> [(&'static str, String); 5] {
    let plan = &run.plan;
    [
        ("site", plan.site.clone()),
        ("rounds", run.rounds().to_string()),
        ("seconds", plan.seconds.to_string()),
        ("warm-up", plan.warm_up_seconds.to_string()),
        ("threads", plan.threads.to_string()),
    ]
}

fn suite(before: &Run, after: &Subject) -> Option<String> {
    let before = before.targets.iter().find(|target| target.name == after.name)?;
    let name = |target: &Subject| target.suite.clone().unwrap_or_else(|| "none".to_owned());
    (before.suite != after.suite).then(|| {
        format!("Different cipher suites of {}: {} in A, {} in B.", after.name, name(before), name(after))
    })
}

/// What one has and the other has not.
fn only(this: &Run, that: &Run, name: &str) -> Option<String> {
    let targets = this.targets.iter().map(|target| &target.name);
    let targets = targets.filter(|name| !that.targets.iter().any(|target| target.name == **name));
    let workloads = this.workloads.iter().map(|workload| &workload.name);
    let workloads = workloads.filter(|name| !that.workloads.iter().any(|workload| workload.name == **name));
    let names: Vec<&str> = targets.chain(workloads).map(String::as_str).collect();
    (!names.is_empty()).then(|| format!("There is only in {name}: {}.", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CutShort;
    use crate::report::made_up;

    #[test]
    fn what_differs_is_named() {
        let before = made_up::run(&["ringway", "ztunnel"], &["bulk"], 5);
        let mut after = made_up::run(&["ringway"], &["bulk", "idle"], 5);
        assert_eq!(caveats(&before, &before).len(), 1);
        after.machine.kernel = "Linux 7".to_owned();
        after.machine.load_average = 3.0;
        after.plan.site = "same node".to_owned();
        after.targets[0].suite = None;
        after.plan.rounds = 9;
        after.cut_short = Some(CutShort { whole_rounds: 4 });
        let all = caveats(&before, &after).join("\n");
        for part in [
            "Different machines: kernel Linux 6.0 made up in A, Linux 7 in B.",
            "Different plans: site one node to another, native in A, same node in B; rounds 5 in A, 4 in B.",
            "B: This run was cut short: 4 of 9 rounds were measured.",
            "suites of ringway: TLS_AES_128_GCM_SHA256 in A, none in B",
            "B: The machine was not quiet",
            "only in A: ztunnel.",
            "only in B: idle.",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
    }
}
