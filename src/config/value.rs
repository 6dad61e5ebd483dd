//! Values of the TOML tree, and what is said when they are not of the type that a key needs.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::quoted;
use super::duration::{self, DurationError};
use super::nearest::nearest;
use super::report::{Report, Spot};
use super::size::{self, SizeError};

/// The value of a key, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    source: usize,
    text: &'a str,
    key: &'a str,
    node: &'a Spanned<DeValue<'a>>,
}

/// A table, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    source: usize,
    text: &'a str,
    entries: &'a DeTable<'a>,
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    /// The key.
    pub(super) key: &'a str,
    /// Where the key stands.
    pub(super) spot: Spot,
    /// What it is set to.
    pub(super) value: Value<'a>,
}

/// A value that may be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit<T> {
    /// `"none"`, `"unlimited"`.
    Endless,
    At(T),
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Endless => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// The words a key may be set to, and those that are planned.
pub(super) struct Choice<T: 'static> {
    pub(super) built: &'static [(&'static str, T)],
    pub(super) planned: &'static [&'static str],
}

impl<'a> Table<'a> {
    pub(super) fn new(source: usize, text: &'a str, entries: &'a DeTable<'a>) -> Self {
        Self { source, text, entries }
    }

    /// The entries in the order of their names.
    pub(super) fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        self.entries.iter().map(move |(key, node)| {
            let name: &'a str = key.get_ref();
            let value = Value { source: self.source, text: self.text, key: name, node };
            Entry { key: name, spot: Spot::new(self.source, key.span()), value }
        })
    }

    pub(super) fn get(self, name: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.key == name)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.entries.contains_key(name)
    }
}

impl Entry<'_> {
    /// Says that a key is none of the table's keys.
    pub(super) fn unknown(&self, report: &mut Report, of: &str, keys: &[&str], planned: &[&str]) {
        let key = quoted(self.key);
        if planned.contains(&self.key) {
            report.error(self.spot.clone(), format!("{key} is not supported yet")).help("leave it out");
            return;
        }
        let help = match nearest(self.key, keys.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys of {of} are {}", keys.join(", ")),
        };
        report.error(self.spot.clone(), format!("{key} is not a key of {of}")).help(help);
    }
}

impl<'a> Value<'a> {
    pub(super) fn spot(&self) -> Spot {
        Spot::new(self.source, self.node.span())
    }

    /// A part of the string; the whole string where its text does not stand in the file as it is.
    pub(super) fn part(&self, part: Range<usize>) -> Spot {
        let span = self.node.span();
        let Some(string) = self.node.get_ref().as_str() else { return self.spot() };
        let raw = &self.text[span.clone()];
        if raw.len() == string.len() + 2
            && raw.get(1..raw.len() - 1) == Some(string)
            && part.end <= string.len()
        {
            let start = span.start + 1;
            return Spot::new(self.source, start + part.start..start + part.end.max(part.start));
        }
        self.spot()
    }

    /// A string without NUL, which no program could be given.
    pub(super) fn string(&self, report: &mut Report, example: &str) -> Option<&'a str> {
        let DeValue::String(string) = self.node.get_ref() else {
            return self.wrong_type(report, "a string", example);
        };
        if string.contains('\0') {
            report.error(self.spot(), format!("`{}` contains a NUL character", self.key));
            return None;
        }
        Some(string)
    }

    pub(super) fn list(&self, report: &mut Report, example: &str) -> Option<Vec<Self>> {
        match self.node.get_ref() {
            DeValue::Array(items) => Some(items.iter().map(|node| Self { node, ..*self }).collect()),
            _ => self.wrong_type(report, "a list", example),
        }
    }

    /// A list of strings; `None` when any of them is none.
    pub(super) fn strings(&self, report: &mut Report, example: &str) -> Option<Vec<(&'a str, Self)>> {
        let items = self.list(report, example)?;
        let read = |item: &Self| item.string(report, example).map(|text| (text, *item));
        let strings: Vec<_> = items.iter().map(read).collect();
        strings.into_iter().collect()
    }

    /// A list of strings that each stand there once; `what` is what each of them names.
    pub(super) fn distinct(
        &self,
        report: &mut Report,
        what: &str,
        example: &str,
    ) -> Option<Vec<(&'a str, Self)>> {
        let items = self.strings(report, example)?;
        let (mut seen, mut distinct) = (BTreeMap::new(), Vec::new());
        for (text, value) in items {
            if let Some(first) = seen.get(text) {
                let message = format!("{what} {} is given twice", quoted(text));
                report.error(value.spot(), message).help("leave it out").first(Spot::clone(first));
                continue;
            }
            seen.insert(text, value.spot());
            distinct.push((text, value));
        }
        Some(distinct)
    }

    pub(super) fn table(&self, report: &mut Report, example: &str) -> Option<Table<'a>> {
        match self.node.get_ref() {
            DeValue::Table(entries) => Some(Table { source: self.source, text: self.text, entries }),
            _ => self.wrong_type(report, "a table", example),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        self.node.get_ref().is_table()
    }

    pub(super) fn is_string(&self) -> bool {
        self.node.get_ref().is_str()
    }

    pub(super) fn is_list(&self) -> bool {
        self.node.get_ref().is_array()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.node.get_ref().is_integer()
    }

    /// The key it is set for.
    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &self,
        report: &mut Report,
        bounds: RangeInclusive<i64>,
        example: &str,
    ) -> Option<i64> {
        let DeValue::Integer(number) = self.node.get_ref() else {
            return self.wrong_type(report, "an integer", example);
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| bounds.contains(value));
        if value.is_none() {
            let (least, most) = bounds.into_inner();
            let message = format!("`{}` can't be {}", self.key, number.as_str());
            let help = match most {
                i64::MAX => format!("{least} is the least"),
                _ => format!("it can be {least} to {most}"),
            };
            report.error(self.spot(), message).help(help);
        }
        value
    }

    /// A number within bounds, whole or not.
    pub(super) fn float(
        &self,
        report: &mut Report,
        bounds: RangeInclusive<f64>,
        example: &str,
    ) -> Option<f64> {
        let text = match self.node.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return self.wrong_type(report, "a number", example),
        };
        let value = text.parse::<f64>().ok().filter(|value| bounds.contains(value));
        if value.is_none() {
            let (least, most) = bounds.into_inner();
            let message = format!("`{}` can't be {text}", self.key);
            report.error(self.spot(), message).help(format!("it can be {least} to {most}"));
        }
        value
    }

    /// What `read` makes of it, or `"none"`, which takes back what `[defaults]` says.
    pub(super) fn unless_none<T>(
        &self,
        report: &mut Report,
        example: &str,
        read: impl FnOnce(&mut Report, &Self) -> Option<T>,
    ) -> Option<Limit<T>> {
        if self.is_string() && self.string(report, example)? == "none" {
            return Some(Limit::Endless);
        }
        read(report, self).map(Limit::At)
    }

    pub(super) fn boolean(&self, report: &mut Report, example: &str) -> Option<bool> {
        match self.node.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type(report, "a boolean", example),
        }
    }

    /// A day of the calendar, as TOML writes it or as a string.
    pub(super) fn date(&self, report: &mut Report, example: &str) -> Option<Date> {
        match self.node.get_ref() {
            DeValue::Datetime(day) if day.time.is_none() => {
                self.read_date(report, &day.to_string(), self.spot(), example)
            }
            DeValue::String(text) => self.read_date(report, text, self.spot(), example),
            _ => self.wrong_type(report, "a date", example),
        }
    }

    /// A day that stands at a spot of this value.
    pub(super) fn read_date(
        &self,
        report: &mut Report,
        text: &str,
        spot: Spot,
        example: &str,
    ) -> Option<Date> {
        let date = Date::strptime("%Y-%m-%d", text).ok().filter(|date| date.to_string() == text);
        if date.is_none() {
            let message = format!("`{}`: {} is no day of the calendar", self.key, quoted(text));
            report.error(spot, message).help(format!("for example: {example}"));
        }
        date
    }

    /// A size in bytes; the example is the key's own.
    pub(super) fn size(&self, report: &mut Report, example: &str) -> Option<u64> {
        let text = self.string(report, example)?;
        match size::parse(text) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let help = match &error {
                    SizeError::NoUnit(number) => format!("write \"{number}KiB\" or \"{number}MB\""),
                    SizeError::TooLarge(_) | SizeError::Malformed(_) => {
                        format!(
                            "write a whole number with B, KB, MB, GB, TB, KiB, MiB, GiB or TiB: {example}"
                        )
                    }
                };
                report.error(self.spot(), format!("`{}`: {error}", self.key)).help(help);
                None
            }
        }
    }

    /// A size that is not below the least one of this key.
    pub(super) fn size_from(
        &self,
        report: &mut Report,
        bytes_min: u64,
        least: &str,
        example: &str,
    ) -> Option<u64> {
        let bytes = self.size(report, example)?;
        if bytes < bytes_min {
            let message = format!("`{}` is below {least}", self.key);
            report.error(self.spot(), message).help(format!("{least} is the least"));
            return None;
        }
        Some(bytes)
    }

    pub(super) fn is_empty_list(&self) -> bool {
        self.node.get_ref().as_array().is_some_and(|items| items.is_empty())
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report, choice: &Choice<T>) -> Option<T> {
        let words: Vec<_> = choice.built.iter().map(|(word, _)| format!("{word:?}")).collect();
        let text = self.string(report, &format!("{} = {}", self.key, words[0]))?;
        if let Some((_, value)) = choice.built.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let what = if choice.planned.contains(&text) {
            format!("`{}` {} is not supported yet", self.key, quoted(text))
        } else {
            format!("`{}` can't be {}", self.key, quoted(text))
        };
        let near = nearest(text, choice.built.iter().map(|(word, _)| *word));
        let help = match near {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("it can be {}", words.join(" or ")),
        };
        report.error(self.spot(), what).help(help);
        None
    }

    /// A duration; the example is the key's own.
    pub(super) fn duration(&self, report: &mut Report, example: &str) -> Option<Duration> {
        let text = self.string(report, example)?;
        self.read_duration(report, text, self.spot(), example)
    }

    /// A duration that stands at a spot of this value.
    pub(super) fn read_duration(
        &self,
        report: &mut Report,
        text: &str,
        spot: Spot,
        example: &str,
    ) -> Option<Duration> {
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let help = match &error {
                    DurationError::NoUnit(number) => format!("write \"{number}s\" or \"{number}m\""),
                    DurationError::TooLong(_) => "365d is the most".to_owned(),
                    DurationError::Order(_) => "from the longest unit to the shortest: \"1h30m\"".to_owned(),
                    DurationError::Empty | DurationError::Malformed(_) => {
                        format!("write whole numbers with the units d, h, m, s, ms: {example}")
                    }
                };
                report.error(spot, format!("`{}`: {error}", self.key)).help(help);
                None
            }
        }
    }

    /// A duration that is more than nothing.
    pub(super) fn positive(&self, report: &mut Report, example: &str, instead: &str) -> Option<Duration> {
        let duration = self.duration(report, example)?;
        if duration.is_zero() {
            report.error(self.spot(), format!("`{}` is zero", self.key)).help(instead);
            return None;
        }
        Some(duration)
    }

    fn wrong_type<T>(&self, report: &mut Report, expected: &str, example: &str) -> Option<T> {
        let found = match self.node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{}`: expected {expected}, found {found}", self.key);
        report.error(self.spot(), message).help(format!("for example: {example}"));
        None
    }
}
