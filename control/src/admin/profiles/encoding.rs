//! A profile in pprof's format.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use pprof::{Frames, Symbol};
use prost::Message;
use proto::profile::{Function, Label, Line, Location, Profile, Sample, ValueType};

const NANOSECONDS: i64 = 1_000_000_000;

/// When samples were taken.
pub(super) struct Timing {
    pub(super) frequency_hz: i32,
    pub(super) began: SystemTime,
    pub(super) duration: Duration,
}

/// A profile of how often each stack was seen.
pub(super) fn encode(stacks: &HashMap<Frames, isize>, timing: &Timing) -> Vec<u8> {
    let mut tables = Tables::new();
    let period = NANOSECONDS / i64::from(timing.frequency_hz.max(1));
    let samples = tables.value_type("samples", "count");
    let time = tables.value_type("cpu", "nanoseconds");
    let thread = tables.string("thread");
    let mut sample = Vec::with_capacity(stacks.len());
    for (stack, count) in stacks {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        let name = tables.string(&stack.thread_name_or_id());
        sample.push(Sample {
            location_id: stack.frames.iter().map(|frame| tables.location(frame)).collect(),
            value: vec![count, count.saturating_mul(period)],
            label: vec![Label { key: thread, str: name }],
        });
    }
    let began = timing.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let profile = Profile {
        sample_type: vec![samples, time],
        sample,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.strings,
        time_nanos: i64::try_from(began.as_nanos()).unwrap_or(i64::MAX),
        duration_nanos: i64::try_from(timing.duration.as_nanos()).unwrap_or(i64::MAX),
        period_type: Some(time),
        period,
    };
    profile.encode_to_vec()
}

/// What samples refer to by number: each thing stands in it once.
struct Tables {
    strings: Vec<String>,
    string_at: HashMap<String, i64>,
    functions: Vec<Function>,
    function_ids: HashMap<String, u64>,
    locations: Vec<Location>,
    location_ids: HashMap<Vec<(u64, i64)>, u64>,
}

impl Tables {
    fn new() -> Self {
        Self {
            // The format wants it.
            strings: vec![String::new()],
            string_at: HashMap::from([(String::new(), 0)]),
            functions: Vec::new(),
            function_ids: HashMap::new(),
            locations: Vec::new(),
            location_ids: HashMap::new(),
        }
    }

    fn value_type(&mut self, r#type: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.string(r#type), unit: self.string(unit) }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(at) = self.string_at.get(text) {
            return *at;
        }
        let at = i64::try_from(self.strings.len()).unwrap_or_default();
        self.strings.push(text.to_owned());
        self.string_at.insert(text.to_owned(), at);
        at
    }

    /// One frame: a function, after those that were inlined into it.
    fn location(&mut self, frame: &[Symbol]) -> u64 {
        let lines: Vec<_> =
            frame.iter().map(|symbol| (self.function(symbol), i64::from(symbol.lineno()))).collect();
        if let Some(id) = self.location_ids.get(&lines) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let line = lines.iter().map(|&(function_id, line)| Line { function_id, line }).collect();
        self.locations.push(Location { id, line });
        self.location_ids.insert(lines, id);
        id
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let system_name = symbol.sys_name();
        if let Some(id) = self.function_ids.get(&*system_name) {
            return *id;
        }
        let id = self.functions.len() as u64 + 1;
        let function = Function {
            id,
            name: self.string(&symbol.name()),
            system_name: self.string(&system_name),
            filename: self.string(&symbol.filename()),
        };
        self.functions.push(function);
        self.function_ids.insert(system_name.into_owned(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn symbol(name: &str, line: u32) -> Symbol {
        Symbol { name: Some(name.into()), addr: None, lineno: Some(line), filename: Some("a.rs".into()) }
    }

    #[test]
    fn stacks_with_inlined_functions_become_samples() {
        let timing =
            Timing { frequency_hz: 100, began: SystemTime::UNIX_EPOCH, duration: Duration::from_secs(2) };
        let stack = |line, thread: &str| Frames {
            frames: vec![vec![symbol("inlined", line), symbol("outer", 7)], vec![symbol("main", 1)]],
            thread_name: thread.to_owned(),
            thread_id: 1,
            sample_timestamp: SystemTime::now(),
        };
        let stacks = HashMap::from([(stack(3, "shard 0"), 5), (stack(4, "control"), 1)]);

        let profile = Profile::decode(&*encode(&stacks, &timing)).unwrap();
        let text = |at: i64| profile.string_table[usize::try_from(at).unwrap()].as_str();
        let types: Vec<_> =
            profile.sample_type.iter().map(|value| (text(value.r#type), text(value.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!((profile.period, profile.duration_nanos), (10_000_000, 2_000_000_000));
        assert_eq!(profile.string_table[0], "");
        assert_eq!((profile.function.len(), profile.location.len()), (3, 3), "each stands in it once");
        let mut samples: Vec<_> = profile
            .sample
            .iter()
            .map(|sample| {
                let frames = sample.location_id.iter().map(|id| {
                    let lines = profile.location[usize::try_from(*id).unwrap() - 1].line.iter();
                    let names = lines.map(|line| {
                        let function = &profile.function[usize::try_from(line.function_id).unwrap() - 1];
                        format!("{}:{}", text(function.name), line.line)
                    });
                    names.collect::<Vec<_>>().join("<")
                });
                let frames = frames.collect::<Vec<_>>().join(" ");
                let label = &sample.label[0];
                (frames, sample.value.clone(), text(label.key), text(label.str))
            })
            .collect();
        samples.sort_unstable();
        assert_eq!(
            samples,
            [
                ("inlined:3<outer:7 main:1".to_owned(), vec![5, 50_000_000], "thread", "shard 0"),
                ("inlined:4<outer:7 main:1".to_owned(), vec![1, 10_000_000], "thread", "control"),
            ]
        );
    }
}
