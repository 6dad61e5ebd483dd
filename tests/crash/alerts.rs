//! What people must have been told, by the rows, held against what they were.

use std::collections::{BTreeMap, BTreeSet};

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};

/// What a message is about: a run, and whether it says that all is well again.
type Key = (RunId, bool);

/// The messages that follow from the rows: each new kind of bad end in a job's trouble, and the end of the trouble.
pub fn of(rows: &[RunRecord]) -> BTreeSet<Key> {
    // A job's runs follow each other, so they ended in the order in which they began.
    let rows: BTreeMap<RunId, &RunRecord> = rows.iter().map(|row| (row.run_id, row)).collect();
    let mut trouble: BTreeMap<&str, BTreeSet<Status>> = BTreeMap::new();
    let mut messages = BTreeSet::new();
    for row in rows.into_values() {
        let kinds = trouble.entry(row.task_name.as_str()).or_default();
        if row.status.is_bad() && kinds.insert(row.status) {
            messages.insert((row.run_id, false));
        } else if row.status == Status::Success && !kinds.is_empty() {
            kinds.clear();
            messages.insert((row.run_id, true));
        }
    }
    messages
}

/// The messages about runs that were told, each with all its texts. Those about missed fires are about no run.
pub fn told(texts: &[String]) -> BTreeMap<Key, Vec<&str>> {
    let mut told: BTreeMap<Key, Vec<&str>> = BTreeMap::new();
    for text in texts {
        let Some((_, rest)) = text.split_once("`jobctl show ") else { continue };
        let run = rest.split('`').next().unwrap().parse().unwrap();
        told.entry((RunId(run), text.starts_with('✅'))).or_default().push(text);
    }
    told
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
    let missed: BTreeSet<&String> = texts.iter().filter(|text| !text.contains("`jobctl show ")).collect();
    let messages = told.len() + missed.len();
    (messages, texts.len() - messages)
}
