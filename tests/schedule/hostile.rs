//! Texts that are no schedules: each is refused, with its place, and in time that grows no faster than the text.

use jobctl::engine::schedule::{Schedule, ScheduleError};
use proptest::prelude::*;

fn refused(text: &str) -> ScheduleError {
    let error = Schedule::parse(text).expect_err(text);
    assert!(text.get(error.span.clone()).is_some(), "{text:?}: {:?} is no part of it", error.span);
    assert!(!error.message.is_empty());
    assert!(error.message.len() < 400, "{} bytes", error.message.len());
    error
}

/// Each text, the part of it that is wrong, the message, and the remedy.
const ERRORS: &[(&str, &str, &str, &str)] = &[
    ("1-61 * * * *", "61", "minute `1-61`: `61` is out of range", "minute goes from 0 to 59"),
    (
        "0 0 * * funday",
        "funday",
        "day of week `funday`: `funday` is not a number or a name",
        "did you mean sun? names have three letters",
    ),
    (
        "0 0 * * friday",
        "friday",
        "day of week `friday`: `friday` is not a number or a name",
        "did you mean fri? names have three letters",
    ),
    (
        "0 0 1 jly *",
        "jly",
        "month `jly`: `jly` is not a number or a name",
        "did you mean jul? names have three letters",
    ),
    ("@wekly", "@wekly", "`@wekly` is not a nickname", "did you mean @weekly?"),
    (
        "@sometimes",
        "@sometimes",
        "`@sometimes` is not a nickname",
        "the nicknames are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, @every, @reboot",
    ),
    ("@daily 5", "5", "`@daily` stands alone, but `5` follows it", "write just `@daily`"),
    ("0/15 * * * *", "0/15", "minute `0/15`: a step needs a range or *", "write 0-59/15"),
    ("0 0 * * mon/2", "mon/2", "day of week `mon/2`: a step needs a range or *", "write 1-7/2"),
    (
        "0 0 1 1 * * 2030",
        "2030",
        "`2030`: a seventh field, for years, is not supported",
        "write minute, hour, day of month, month and day of week; seconds may go ahead of them",
    ),
    (
        " 0 0 1 ",
        "0 0 1",
        "the schedule has 3 fields; it takes 5, or 6 with seconds ahead",
        "write minute, hour, day of month, month and day of week; seconds may go ahead of them",
    ),
    (
        "5-1 * * * *",
        "5-1",
        "minute `5-1`: the range runs backwards; Debian's cron takes it and never fires",
        "write 5-59,0-1",
    ),
    (
        "0 0 * * fri-mon",
        "fri-mon",
        "day of week `fri-mon`: the range runs backwards; Debian's cron takes it and never fires",
        "write 5-7,1",
    ),
    (
        "0 0 * * tue-sun",
        "tue-sun",
        "day of week `tue-sun`: the range runs backwards; Debian's cron takes it and never fires",
        "write 2-7",
    ),
    ("50-10 * * * * *", "50-10", "second `50-10`: the range runs backwards", "write 50-59,0-10"),
    (
        "1,,2 * * * *",
        "",
        "minute: an entry of the list is empty",
        "write numbers with one comma between two of them",
    ),
    ("*/0 * * * *", "0", "minute `*/0`: a step of 0 never moves", "a step is a number from 1 on: `*/5`"),
    (
        "*/99999999999 * * * *",
        "99999999999",
        "minute `*/99999999999`: `99999999999` is not a step",
        "a step is a number from 1 on: `*/5`",
    ),
    (
        "*/90 * * * * *",
        "90",
        "second `*/90`: a step of 90 is longer than a minute",
        "for whole minutes write 0 here, and the step in the next field",
    ),
    (
        "4294967296 * * * *",
        "4294967296",
        "minute `4294967296`: `4294967296` is out of range",
        "minute goes from 0 to 59",
    ),
    ("0 0 * * 6#6", "6", "day of week `6#6`: `6` is not 1 to 5", "`5#2` is the second Friday of the month"),
    (
        "0 0 L-3 * *",
        "L-3",
        "day of month `L-3`: days before the last one are not supported",
        "`L` is the last day, `LW` the last working day",
    ),
    (
        "0 0 * * L",
        "L",
        "day of week `L`: it does not say which weekday",
        "`5L` is the last Friday of the month; for the last day write `L` in the day of month field",
    ),
    (
        "0 0 31 2,4 *",
        "31 2,4",
        "this never fires: month `2,4` has no day of month `31`",
        "`L` is the last day of each month",
    ),
    (
        "1 1 */100 * MON#4",
        "*/100 * MON#4",
        "this never fires: no day of month `*/100` in month `*` is a day of week `MON#4`",
        "a day must fit both day fields, as one of them begins with *",
    ),
    (
        "@every 0s",
        "0s",
        "`@every` `0s`: it must be at least a second",
        "write a duration of at least a second: `@every 90s`, `10m`, `1h30m` or `1d`",
    ),
    (
        "@every 30m1h",
        "30m1h",
        "`@every` `30m1h`: this is not a duration",
        "write a duration of at least a second: `@every 90s`, `10m`, `1h30m` or `1d`",
    ),
    (
        "@every",
        "@every",
        "`@every` takes one duration",
        "write a duration of at least a second: `@every 90s`, `10m`, `1h30m` or `1d`",
    ),
    ("- * * * *", "-", "minute `-`: a number is missing", "minute goes from 0 to 59"),
    ("5x * * * *", "5x", "minute `5x`: `5x` is not a number", "minute goes from 0 to 59"),
    ("* * * * 화", "화", "day of week `화`: `화` is not a number or a name", "day of week goes from 0 to 7"),
];

/// Texts that some parser takes, and others that none should.
const ODD: &[&str] = &[
    "",
    " ",
    "\t",
    "@",
    "@every",
    "@every s",
    "@every 5",
    "@every -5m",
    "@every 1.5h",
    "@every 1h1h",
    "@every 5 m",
    "@every 99999999999999999999d",
    "@every 36526d",
    "@reboot now",
    "* * * *",
    "** * * * *",
    "*1 * * * *",
    "*- * * * *",
    "*-5 * * * *",
    "*,*, * * * *",
    "1- * * * *",
    "-1 * * * *",
    "1-2-3 * * * *",
    "1/2/3 * * * *",
    "?/2 * * * *",
    "?,1 * * * *",
    "+1 * * * *",
    "１ * * * *",
    "1\u{a0}* * * *",
    "*\n* * * *",
    "* * * * *\n",
    "L * * * *",
    "* L * * *",
    "* * * L *",
    "* * L/2 * *",
    "* * 1-L * *",
    "* * W * *",
    "* * 0W * *",
    "* * 32W * *",
    "* * 1-5W * *",
    "* * WL * *",
    "* * * * L5",
    "* * * * 8L",
    "* * * * 5W",
    "* * * * #2",
    "* * * * 5#",
    "* * * * 5#0",
    "* * * * 5#2#3",
    "* * * * 1-5#2",
    "* * * * 5#2L",
    "* * * * 5L#2",
    "mon * * * *",
    "* * mon * *",
    "* * * mon *",
    "* * * * jan",
    "0 0 30 2 *",
    "0 0 31W 2 *",
    "0 0 31 4,6,9,11 ?",
    "* * */32 * 1#2",
    "- - - - -",
    "/ / / / /",
    ", , , , ,",
    "0x1 * * * *",
    "1e1 * * * *",
    "00001 * * * *",
    "\0 * * * *",
    "🦀 🦀 🦀 🦀 🦀",
];

#[test]
fn an_error_names_the_field_the_text_the_place_and_the_remedy() {
    for (text, wrong, message, help) in ERRORS {
        let error = refused(text);
        assert_eq!(&text[error.span.clone()], *wrong, "{text:?}");
        assert_eq!(error.message, *message);
        assert_eq!(error.help.as_deref(), Some(*help), "{text:?}");
    }
}

#[test]
fn odd_texts_are_refused_and_not_guessed_at() {
    for text in ODD {
        refused(text);
    }
}

#[test]
fn spaces_and_tabs_separate_in_any_number() {
    for text in ["* * * * *", "  *\t*  *   * *  ", "\t*\t*\t*\t*\t*\t", " @hourly ", "@every\t 1h "] {
        let schedule = Schedule::parse(text).expect(text);
        assert_eq!(schedule.as_str(), text);
    }
}

#[test]
fn durations_of_every_are_read_in_full() {
    for (text, seconds) in [
        ("1s", 1),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1d2h3m4s", 93_784),
        ("36525d", 3_155_760_000),
    ] {
        let schedule = Schedule::parse(&format!("@every {text}")).expect(text);
        let next = schedule.next(&jiff::tz::TimeZone::UTC, jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(next.as_second(), seconds, "{text}");
    }
}

#[test]
fn a_megabyte_is_refused_with_a_short_message() {
    let fill = |part: &str| part.repeat(1_000_000 / part.len());
    for part in ["*", " ", "0,", "1-", "*/", "@", "L", "#", "화", "🦀", "* ", "9", "@every ", "a"] {
        let text = fill(part);
        assert!(refused(&text).message.len() < 200, "{part}");
        assert!(refused(&format!("{text} * * * *")).message.len() < 200, "{part}");
    }
}

#[test]
fn a_long_list_within_the_limit_is_taken() {
    let all =
        |last: u8, first: u8| (first..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let text =
        format!("{} {} {} {} {} {}", all(59, 0), all(59, 0), all(23, 0), all(31, 1), all(12, 1), all(7, 0));
    Schedule::parse(&text).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_fall(text in any::<String>()) {
        if Schedule::parse(&text).is_err() {
            refused(&text);
        }
    }

    #[test]
    fn no_text_of_the_grammars_letters_makes_it_fall(text in "[0-9*/,#?LWlw@ \t-]{0,24}( [0-9*/,#LW-]{1,6}){0,6}") {
        match Schedule::parse(&text) {
            Err(_) => drop(refused(&text)),
            Ok(schedule) => {
                let now = jiff::Timestamp::UNIX_EPOCH;
                let next = schedule.next(&jiff::tz::TimeZone::UTC, now);
                prop_assert!(schedule.is_reboot() || next.is_some_and(|next| next > now));
            }
        }
    }
}
