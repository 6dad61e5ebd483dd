//! `H`: a number that the job's name chooses, so that jobs which need no particular minute do not share one.

use crate::engine::spread::spread;

use super::ScheduleError;
use super::field::{Field, Piece};

const HELP: &str = "write `H`, `H(0-29)`, `H/15` or `H(9-17)/2`";

/// The word with each `H` in it replaced by what it stands for in a job of this name; `None` where it has none.
pub(super) fn resolve(
    field: Field,
    word: Piece<'_>,
    name: Option<&str>,
) -> Result<Option<String>, ScheduleError> {
    if !word.entries().any(is_hashed) {
        return Ok(None);
    }
    let entries = word
        .entries()
        .map(|entry| if is_hashed(entry) { entry_of(field, entry, name) } else { Ok(entry.text.to_owned()) });
    let entries: Vec<String> = entries.collect::<Result<_, _>>()?;
    Ok(Some(entries.join(",")))
}

/// No name of a month or a weekday begins with this letter.
fn is_hashed(entry: Piece<'_>) -> bool {
    entry.text.starts_with(['H', 'h'])
}

/// What an entry stands for: a number, or where it has a step a range with this step from its first number on.
fn entry_of(field: Field, entry: Piece<'_>, name: Option<&str>) -> Result<String, ScheduleError> {
    let (base, step) = match entry.split_once('/') {
        Some((base, step)) => (base, Some(field.step(entry, step)?)),
        None => (entry, None),
    };
    let (low, high) = bounds(field, entry, base)?;
    let Some(name) = name else {
        let message = format!("{} {}: no job is named whose name could choose", field.name(), entry.quoted());
        return Err(entry.error(message).with_help("`H` depends on the job's name: say which job it is for"));
    };
    let length = u64::from(high - low) + 1;
    let choices = step.map_or(length, |step| length.min(step.into()));
    let chosen = spread(&[name.as_bytes(), field.name().as_bytes()], choices);
    let first = u64::from(low) + chosen;
    Ok(match step {
        Some(step) => format!("{first}-{high}/{step}"),
        None => first.to_string(),
    })
}

/// The smallest and the largest number that the name may choose.
fn bounds(field: Field, entry: Piece<'_>, base: Piece<'_>) -> Result<(u8, u8), ScheduleError> {
    let rest = base.slice(1, base.text.len());
    if rest.text.is_empty() {
        return Ok(field.hashed_limits());
    }
    let inner = rest.text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let range = inner.and_then(|inner| rest.slice(1, 1 + inner.len()).split_once('-'));
    let Some((from, to)) = range else {
        let message = format!("{} {}: {} can't follow H", field.name(), entry.quoted(), rest.quoted());
        return Err(rest.error(message).with_help(HELP));
    };
    field.range(entry, from, to)
}
