//! What a job may use of its host: `nice`, `ionice`, `rlimits`, `limits`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::engine::resources::{GroupLimits, IoPriority, Resources, Rlimit, RlimitPair};

use super::diagnostic::quoted;
use super::nearest::nearest;
use super::report::Report;
use super::value::{Entry, Limit, Value};

/// The priorities of the CPU, from the first to the last.
const NICE: RangeInclusive<i64> = -20..=19;

/// The levels of a class of I/O priorities, from the first to the last.
const IO_LEVELS: RangeInclusive<u8> = 0..=7;

/// The level of a class that names none: the middle, as ionice(1) has it.
const IO_LEVEL: u8 = 4;

/// The keys of `limits`.
const LIMITS: &[&str] = &["memory", "cpu", "pids", "required"];

/// The smallest `memory`, bytes: below it no program comes to its first line.
const MEMORY_MIN: u64 = 1 << 20;

/// The largest `cpu`, percent: a thousand CPUs.
const CPU_MAX: u64 = 100_000;

/// What `rlimits` may look like.
const RLIMITS_EXAMPLE: &str = "rlimits = { nofile = 4096, core = 0, as = \"2GiB\" }";

/// What `limits` may look like.
const LIMITS_EXAMPLE: &str = "limits = { memory = \"512MiB\", cpu = \"150%\", pids = 100 }";

/// What an entry says of them, before defaults. Tables are put together key by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) nice: Option<i32>,
    pub(super) io: Option<IoPriority>,
    pub(super) rlimits: BTreeMap<Rlimit, RlimitPair>,
    pub(super) group: GroupDraft,
}

/// What an entry says under `limits`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupDraft {
    memory: Option<Limit<u64>>,
    cpu: Option<Limit<u64>>,
    pids: Option<Limit<u64>>,
    required: Option<bool>,
}

impl Draft {
    /// Puts what is not said here in from the defaults.
    pub(super) fn resolve(self, defaults: &Self) -> Resources {
        let mut rlimits = defaults.rlimits.clone();
        rlimits.extend(self.rlimits);
        let (own, all) = (self.group, defaults.group);
        Resources {
            nice: self.nice.or(defaults.nice),
            io: self.io.or(defaults.io),
            rlimits,
            group: GroupLimits {
                memory: own.memory.or(all.memory).and_then(Limit::value),
                cpu_percent: own.cpu.or(all.cpu).and_then(Limit::value),
                pids: own.pids.or(all.pids).and_then(Limit::value),
                required: own.required.or(all.required).unwrap_or_default(),
            },
        }
    }
}

/// Only root may go ahead of others.
pub(super) fn nice(report: &mut Report, value: &Value<'_>, uid: Option<u32>) -> Option<i32> {
    let nice = value.integer(report, NICE, "nice = 10")?;
    if let Some(uid) = uid.filter(|&uid| uid != 0 && nice < 0) {
        report
            .error(value.spot(), format!("jobd runs as user {uid} and can't give a job a negative `nice`"))
            .help("run jobd as root, or write 0 to 19");
        return None;
    }
    i32::try_from(nice).ok()
}

/// A class, with a level where it has them.
pub(super) fn ionice(report: &mut Report, value: &Value<'_>, uid: Option<u32>) -> Option<IoPriority> {
    const CLASSES: [&str; 3] = ["idle", "best-effort", "realtime"];
    let text = value.string(report, "ionice = \"idle\"")?;
    let (class, level) = match text.split_once(':') {
        Some((class, level)) => (class, Some(level)),
        None => (text, None),
    };
    let level = match level.map(str::parse::<u8>) {
        None => Some(IO_LEVEL),
        Some(Ok(level)) if IO_LEVELS.contains(&level) && class != "idle" => Some(level),
        Some(_) => None,
    };
    match (class, level) {
        ("idle", Some(_)) => return Some(IoPriority::Idle),
        ("best-effort", Some(level)) => return Some(IoPriority::BestEffort(level)),
        ("realtime", Some(level)) => match uid.filter(|&uid| uid != 0) {
            None => return Some(IoPriority::Realtime(level)),
            Some(uid) => {
                let message = format!("jobd runs as user {uid} and can't give a job a realtime `ionice`");
                report.error(value.spot(), message).help("run jobd as root, or write \"best-effort:0\"");
                return None;
            }
        },
        _ => {}
    }
    let help = match nearest(class, CLASSES).filter(|near| *near != class) {
        Some(near) => format!("did you mean {near:?}?"),
        None => {
            "it can be \"idle\", \"best-effort:0\" to \"best-effort:7\", \"realtime:0\" to \"realtime:7\""
                .to_owned()
        }
    };
    report.error(value.spot(), format!("`ionice` can't be {}", quoted(text))).help(help);
    None
}

/// Limits of each process by their names; a mistake in one leaves the others.
pub(super) fn rlimits(report: &mut Report, value: &Value<'_>) -> BTreeMap<Rlimit, RlimitPair> {
    let Some(table) = value.table(report, RLIMITS_EXAMPLE) else { return BTreeMap::new() };
    let mut rlimits = BTreeMap::new();
    for entry in table.entries() {
        let names = Rlimit::ALL.map(|(_, name, _)| name);
        let Some(&(rlimit, _, bytes)) = Rlimit::ALL.iter().find(|(_, name, _)| *name == entry.key) else {
            entry.unknown(report, "`rlimits`", &names, &[]);
            continue;
        };
        if let Some(pair) = rlimit_pair(report, &entry, bytes) {
            rlimits.insert(rlimit, pair);
        }
    }
    rlimits
}

/// One value for both limits, or `[soft, hard]`.
fn rlimit_pair(report: &mut Report, entry: &Entry<'_>, bytes: bool) -> Option<RlimitPair> {
    let (key, value) = (entry.key, &entry.value);
    let example = if bytes { format!("{key} = \"2GiB\"") } else { format!("{key} = 4096") };
    if !value.is_list() {
        let both = rlimit(report, value, bytes, &example)?.value();
        return Some(RlimitPair { soft: both, hard: both });
    }
    let items = value.list(report, &example)?;
    let [soft, hard] = items.as_slice() else {
        let message = format!("`{key}`: a list of {} is no pair of limits", items.len());
        report.error(value.spot(), message).help(format!("write [soft, hard], or one for both: {example}"));
        return None;
    };
    let (soft, hard) = (rlimit(report, soft, bytes, &example), rlimit(report, hard, bytes, &example));
    let (soft, hard) = (soft?.value(), hard?.value());
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        let message = format!("`{key}`: the soft limit is above the hard one");
        report.error(value.spot(), message).help("the first of the two is the soft one");
        return None;
    }
    Some(RlimitPair { soft, hard })
}

/// A size where bytes are counted, a whole number elsewhere; 0 needs no unit.
fn rlimit(report: &mut Report, value: &Value<'_>, bytes: bool, example: &str) -> Option<Limit<u64>> {
    if value.is_string() && value.string(report, example)? == "unlimited" {
        return Some(Limit::Endless);
    }
    if !bytes {
        let number = value.integer(report, 0..=i64::MAX, &format!("{example} or \"unlimited\""))?;
        return u64::try_from(number).ok().map(Limit::At);
    }
    if value.is_integer() {
        let number = value.integer(report, 0..=i64::MAX, example)?;
        if number == 0 {
            return Some(Limit::At(0));
        }
        let message = format!("`{}`: {number} has no unit", value.key());
        report.error(value.spot(), message).help(format!("write \"{number}B\" or \"{number}KiB\""));
        return None;
    }
    value.size(report, example).map(Limit::At)
}

/// Limits of the run's control group.
pub(super) fn limits(report: &mut Report, value: &Value<'_>) -> GroupDraft {
    let mut draft = GroupDraft::default();
    let Some(table) = value.table(report, LIMITS_EXAMPLE) else { return draft };
    for entry in table.entries() {
        let value = &entry.value;
        match entry.key {
            "memory" => draft.memory = value.unless_none(report, LIMITS_EXAMPLE, memory),
            "cpu" => draft.cpu = value.unless_none(report, LIMITS_EXAMPLE, cpu),
            "pids" => draft.pids = value.unless_none(report, LIMITS_EXAMPLE, pids),
            "required" => draft.required = value.boolean(report, "required = true"),
            _ => entry.unknown(report, "`limits`", LIMITS, &[]),
        }
    }
    draft
}

fn memory(report: &mut Report, value: &Value<'_>) -> Option<u64> {
    value.size_from(report, MEMORY_MIN, "1MiB", "memory = \"512MiB\"")
}

fn pids(report: &mut Report, value: &Value<'_>) -> Option<u64> {
    value.integer(report, 1..=i64::MAX, "pids = 100").and_then(|pids| u64::try_from(pids).ok())
}

/// Percent of one CPU.
fn cpu(report: &mut Report, value: &Value<'_>) -> Option<u64> {
    let text = value.string(report, "cpu = \"150%\"")?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse().ok());
    let percent = percent.filter(|percent| (1..=CPU_MAX).contains(percent));
    if percent.is_none() {
        let message = format!("`cpu` {} is not a percentage from 1% to {CPU_MAX}%", quoted(text));
        report.error(value.spot(), message).help("100% is one CPU: cpu = \"150%\"");
    }
    percent
}
