//! The word that was probably meant.

use super::diagnostic::quoted;
use super::report::{Report, Spot};

/// How many names a report lists.
const SHOWN_MAX: usize = 10;

/// Among how many names the one that was probably meant is looked for: each look takes time.
const NAMES_MAX: usize = 10_000;

/// Reports a name that nobody has, with the one that was probably meant, or those there are, or how to `add` one.
pub(super) fn unknown<'n>(
    report: &mut Report,
    what: &str,
    names: impl Iterator<Item = &'n str> + Clone,
    name: &str,
    spot: &Spot,
    add: &str,
) {
    let help = match nearest(name, names.clone().take(NAMES_MAX)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => match names.take(SHOWN_MAX).collect::<Vec<_>>().join(", ") {
            names if names.is_empty() => add.to_owned(),
            names => format!("there are {names}"),
        },
    };
    report.error(spot.clone(), format!("there is no {what} {}", quoted(name))).help(help);
}

/// The candidate nearest to a word, if any is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Beyond this, a word is not compared: the distance takes time by the product of the lengths.
    const WORD_BYTES_MAX: usize = 100;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + word.len().min(candidate.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The zone that was probably meant: the nearest name, or the one with the same city.
pub(super) fn nearest_zone(word: &str) -> Option<String> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let areas = || names.iter().map(String::as_str);
    nearest(word, areas())
        .or_else(|| {
            let city = |name: &str| name.rsplit('/').next().unwrap_or(name).to_lowercase().replace(' ', "_");
            areas().filter(|name| name.contains('/') && city(name) == city(word)).min()
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{nearest, nearest_zone};

    #[test]
    fn finds_what_was_meant_and_nothing_far() {
        let keys = ["schedule", "command", "shell", "timeout"];
        assert_eq!(nearest("comand", keys), Some("command"));
        assert_eq!(nearest("Schedule", keys), Some("schedule"));
        assert_eq!(nearest("tiemout", keys), Some("timeout"));
        assert_eq!(nearest("frequency", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn finds_zones_by_spelling_and_by_city() {
        assert_eq!(nearest_zone("Asia/Soeul").as_deref(), Some("Asia/Seoul"));
        assert_eq!(nearest_zone("Seoul").as_deref(), Some("Asia/Seoul"));
        assert_eq!(nearest_zone("Korea/Seoul").as_deref(), Some("Asia/Seoul"));
        assert_eq!(nearest_zone("Middle-earth/Shire"), None);
    }
}
