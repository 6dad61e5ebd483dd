//! How values are written into the database, and read back.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::engine::job::JobName;
use crate::engine::time::Timestamp;

/// An instant as the database has it, cut to the millisecond: `2026-11-22T01:00:00.000Z`.
pub(super) fn stamp(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A count as the database has it. Counts beyond 2^63 do not occur; they would stay at the end of the range.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A length of time in whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A value as JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A column whose text must mean something.
pub(super) fn word<T>(
    row: &SqliteRow,
    column: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> sqlx::Result<T> {
    let text: String = row.try_get(column)?;
    read(&text).ok_or_else(|| unreadable(column, &text))
}

/// The same of a column that may be NULL.
pub(super) fn word_or_null<T>(
    row: &SqliteRow,
    column: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> sqlx::Result<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| read(&text).ok_or_else(|| unreadable(column, &text))).transpose()
}

/// A column of JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> sqlx::Result<T> {
    word(row, column, |text| serde_json::from_str(text).ok())
}

/// A column of instants.
pub(super) fn time(row: &SqliteRow, column: &'static str) -> sqlx::Result<Timestamp> {
    word(row, column, |text| text.parse().ok())
}

/// A column of instants that may be NULL.
pub(super) fn time_or_null(row: &SqliteRow, column: &'static str) -> sqlx::Result<Option<Timestamp>> {
    word_or_null(row, column, |text| text.parse().ok())
}

/// A column of job names.
pub(super) fn job(row: &SqliteRow, column: &'static str) -> sqlx::Result<JobName> {
    word(row, column, |text| JobName::new(text).ok())
}

/// A column of numbers that fit `T`.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> sqlx::Result<T> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| unreadable(column, &number.to_string()))
}

/// A column of numbers that fit `T` and may be NULL.
pub(super) fn number_or_null<T: TryFrom<i64>>(
    row: &SqliteRow,
    column: &'static str,
) -> sqlx::Result<Option<T>> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(|number| T::try_from(number).map_err(|_| unreadable(column, &number.to_string()))).transpose()
}

fn unreadable(column: &'static str, value: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("unexpected value {value:?}").into(),
    }
}

/// The first `chars_max` characters of a text.
pub(super) fn head(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    without_nul(&text[..end])
}

/// The last whole characters of a text within `bytes_max` bytes.
pub(super) fn tail(text: &str, bytes_max: usize) -> String {
    let from = text.len().saturating_sub(bytes_max);
    without_nul(&text[text.ceil_char_boundary(from)..])
}

/// A NUL ends a text for many programs that read databases, and `PostgreSQL` refuses it.
fn without_nul(text: &str) -> String {
    text.replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_text_of_one_length_cut_to_the_millisecond() {
        let at = |text: &str| stamp(text.parse().unwrap());
        assert_eq!(at("2026-11-22T10:00:00+09:00"), "2026-11-22T01:00:00.000Z");
        assert_eq!(at("2026-11-22T01:00:00.9999Z"), "2026-11-22T01:00:00.999Z");
        assert_eq!(at("1969-12-31T23:59:59.9999Z").len(), "1969-12-31T23:59:59.999Z".len());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(head("청구서 발행", 3), "청구서");
        assert_eq!(head("청구서", 3), "청구서");
        assert_eq!(head("", 3), "");
        // Each of these characters has three bytes.
        assert_eq!(tail("청구서", 7), "구서");
        assert_eq!(tail("청구서", 9), "청구서");
        assert_eq!(tail("청구서", 2), "");
        assert_eq!(head("a\0b", 3), "a b");
    }
}
