//! The end of the page: on what it was measured, how, and what is not in it.

use super::tables::scrolling;
use super::{class, escape};
use crate::record::{Encryption, Run, Subject};
use crate::report::board::Section;
use crate::report::noise;

pub(super) fn section(run: &Run, sections: &[Section<'_>]) -> String {
    format!(
        "<section id=\"about\">\n<h2>Machine and method</h2>\n<dl>\n{}</dl>\n<p class=\"command\"><code>{}</code></p>\n{}\
         <h3>Targets</h3>\n{}{}</section>\n",
        facts(run),
        escape(&run.plan.command.join(" ")),
        method(run, sections),
        targets(&run.targets),
        left_out(run)
    )
}

fn facts(run: &Run) -> String {
    let (machine, plan) = (&run.machine, &run.plan);
    let named = |values: &mut dyn Iterator<Item = (&String, &String)>, none: &str| {
        let values: Vec<String> = values.map(|(name, value)| format!("{name}: {value}")).collect();
        if values.is_empty() { none.to_owned() } else { values.join("; ") }
    };
    let facts = [
        ("measured", machine.date.clone()),
        ("site", plan.site.clone()),
        ("plan", run.in_words()),
        ("kernel", machine.kernel.clone()),
        ("CPU", format!("{} ({})", machine.cpu, machine.cpu_flags.join(" "))),
        ("cores", machine.cores_in_words()),
        ("memory", machine.memory.clone()),
        ("governor", machine.governor.clone().unwrap_or_else(|| "none".to_owned())),
        ("clock", machine.clock_source.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("mitigations", named(&mut machine.mitigations.iter(), "none")),
        ("tools", named(&mut machine.tools.iter(), "none but our own")),
    ];
    facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escape(value))).collect()
}

fn method(run: &Run, sections: &[Section<'_>]) -> String {
    let agreement = noise::agreement(sections).unwrap_or_default();
    format!(
        "<p>In each round every target is started afresh and measured in every workload, targets one after the other and in \
         another order each round. A figure is the median of the rounds with its range. A ratio is taken within each round, \
         where both targets met the same conditions, and the median is taken of the ratios. {}</p>\n<p>{}</p>\n",
        escape(noise::meaning(run.rounds())),
        escape(&agreement)
    )
}

fn targets(targets: &[Subject]) -> String {
    let row = |target: &Subject| {
        format!(
            "<tr class=\"{}\"><th>{}</th><td class=\"text\">{}</td><td class=\"text\">{}</td><td class=\"text\">{}<small>{}\
             </small></td><td class=\"text\"><code>{}</code></td></tr>\n",
            class(&target.name),
            escape(&target.name),
            encryption(target.encryption),
            escape(target.suite.as_deref().unwrap_or("–")),
            escape(&target.build.version),
            escape(&target.build.notes),
            escape(&target.build.sha256)
        )
    };
    let head = ["between the pods", "cipher suite", "build", "SHA-256"];
    let head: String = head.iter().map(|head| format!("<th class=\"text\">{head}</th>")).collect();
    scrolling("targets", &head, &targets.iter().map(row).collect::<String>())
}

fn encryption(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::None => "plaintext",
        Encryption::Tunnel => "tunnels to port 15008",
        Encryption::Sealed => "sealed, not TLS, to port 15008",
        Encryption::Wireguard => "WireGuard",
        Encryption::Unproven => "not looked at",
    }
}

fn left_out(run: &Run) -> String {
    if run.left_out.is_empty() {
        return String::new();
    }
    let entry = |left: &crate::record::LeftOut| {
        format!("<dt>{}</dt><dd>{}</dd>\n", escape(&left.what), escape(&left.reason))
    };
    format!("<h3>Left out</h3>\n<dl>\n{}</dl>\n", run.left_out.iter().map(entry).collect::<String>())
}
