//! What people must have been told, by the rows, held against what they were.

use std::collections::{BTreeMap, BTreeSet};

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};

/// What a message is about.
type Key = (RunId, Said);

/// What it says of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// It ended badly.
    Bad,
    /// All is well again.
    Well,
    /// Fires are skipped because of it, one after the other.
    InTheWay,
}

/// The messages that follow from the rows: each new kind of bad end in a job's trouble, the end of the trouble, and
/// each run behind which a second fire was skipped.
pub fn of(rows: &[RunRecord]) -> BTreeSet<Key> {
    // A job's runs follow each other, so they ended in the order in which they began. Their numbers may be in another:
    // a run that is claimed ahead has its number before one that is asked for meanwhile.
    let mut rows: Vec<&RunRecord> = rows.iter().collect();
    rows.sort_by_key(|row| (row.started_at, row.run_id));
    let mut trouble: BTreeMap<&str, BTreeSet<Status>> = BTreeMap::new();
    let mut messages = BTreeSet::new();
    messages.extend(in_the_way(rows.iter().copied()).map(|run| (run, Said::InTheWay)));
    for row in rows {
        let kinds = trouble.entry(row.task_name.as_str()).or_default();
        if row.status.is_bad() && kinds.insert(row.status) {
            messages.insert((row.run_id, Said::Bad));
        } else if row.status == Status::Success && !kinds.is_empty() {
            kinds.clear();
            messages.insert((row.run_id, Said::Well));
        }
    }
    messages
}

/// The runs behind which more than one fire was skipped.
fn in_the_way<'a>(rows: impl Iterator<Item = &'a RunRecord>) -> impl Iterator<Item = RunId> {
    let mut skipped: BTreeMap<RunId, u64> = BTreeMap::new();
    for row in rows.filter(|row| row.status == Status::Skipped) {
        let reason = row.reason.as_deref().and_then(|reason| reason.strip_prefix("run "));
        let run = reason.and_then(|reason| reason.strip_suffix(" was still active"));
        if let Some(run) = run {
            *skipped.entry(RunId(run.parse().unwrap())).or_default() += row.fires;
        }
    }
    skipped.into_iter().filter(|(_, fires)| *fires > 1).map(|(run, _)| run)
}

/// The messages about runs that were told, each with all its texts. Those about missed fires are about no run.
pub fn told(texts: &[String]) -> BTreeMap<Key, Vec<&str>> {
    let mut told: BTreeMap<Key, Vec<&str>> = BTreeMap::new();
    for text in texts {
        let Some(run) = run_of(text) else { continue };
        let said = match text.chars().next() {
            Some('✅') => Said::Well,
            Some('⚠') => Said::InTheWay,
            _ => Said::Bad,
        };
        told.entry((run, said)).or_default().push(text);
    }
    told
}

/// The run that a message is about, by the command that it ends with: of one that goes on what it does, else how it
/// ended.
fn run_of(text: &str) -> Option<RunId> {
    let commands = ["`jobctl show ", "`jobctl inspect "];
    let (_, rest) = commands.iter().find_map(|command| text.split_once(command))?;
    rest.split('`').next()?.parse().ok().map(RunId)
}

/// Holds what was told against the rows: nothing that is not so, and again only in the same words. How many messages
/// there were, and how many of them came again.
pub fn are_true(rows: &[RunRecord], texts: &[String]) -> (usize, usize) {
    let expected = of(rows);
    let told = told(texts);
    for (key, texts) in &told {
        assert!(expected.contains(key), "that is not so: {texts:?}");
        assert!(texts.iter().all(|text| *text == texts[0]), "told again in other words: {texts:?}");
    }
    let missed: BTreeSet<&String> = texts.iter().filter(|text| run_of(text).is_none()).collect();
    let messages = told.len() + missed.len();
    (messages, texts.len() - messages)
}
