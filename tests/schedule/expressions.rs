//! Expressions drawn at random, each with what it means as plain predicates, so that nothing of the parser or the
//! evaluator is asked what the right answer is.

use jiff::civil::{Date, DateTime, Weekday};
use proptest::prelude::*;

/// One entry of a field's list.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Range { low: i8, high: i8, step: i8 },
    Last,
    LastWorkday,
    NearestWorkday(i8),
    LastWeekday(i8),
    NthWeekday(i8, i8),
}

/// A field: its text and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) text: String,
    entries: Vec<Entry>,
}

/// An expression with its six fields, of which the first may be left unwritten.
#[derive(Clone)]
pub(crate) struct Expression {
    pub(crate) text: String,
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Field {
    fn starred(&self) -> bool {
        self.text.starts_with('*') || self.text == "?"
    }

    fn holds(&self, value: i8) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Range { low, high, step } => (*low..=*high).contains(&value) && (value - low) % step == 0,
            _ => false,
        })
    }

    fn holds_day(&self, date: Date) -> bool {
        let last = date.last_of_month();
        self.holds(date.day())
            || self.entries.iter().any(|entry| match entry {
                Entry::Last => date == last,
                Entry::LastWorkday => {
                    works(date) && !(date.day() + 1..=last.day()).any(|day| works(on(date, day)))
                }
                Entry::NearestWorkday(day) => *day <= last.day() && date == nearest_workday(on(date, *day)),
                _ => false,
            })
    }

    fn holds_weekday(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        self.holds(weekday)
            || (weekday == 0 && self.holds(7))
            || self.entries.iter().any(|entry| match entry {
                Entry::LastWeekday(day) => day % 7 == weekday && date.day() + 7 > date.days_in_month(),
                Entry::NthWeekday(day, count) => day % 7 == weekday && (date.day() - 1) / 7 + 1 == *count,
                _ => false,
            })
    }
}

fn on(date: Date, day: i8) -> Date {
    date.with().day(day).build().unwrap()
}

fn works(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Saturday goes back and Sunday on, but not out of the month; then it is the other way, over the weekend.
fn nearest_workday(date: Date) -> Date {
    let ways: [i64; 5] =
        if date.weekday() == Weekday::Saturday { [0, -1, 1, -2, 2] } else { [0, 1, -1, 2, -2] };
    let mut near = ways.into_iter().map(|days| date.checked_add(jiff::Span::new().days(days)).unwrap());
    near.find(|near| works(*near) && near.month() == date.month()).unwrap()
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl Expression {
    /// Whether a job of it follows the clock through its jumps.
    pub(crate) fn is_wild(&self) -> bool {
        self.minute.starred() || self.hour.starred()
    }

    /// Whether a civil time matches.
    pub(crate) fn matches(&self, civil: DateTime) -> bool {
        self.second.holds(civil.second())
            && self.minute.holds(civil.minute())
            && self.hour.holds(civil.hour())
            && self.matches_day(civil.date())
    }

    /// Whether some time of a day may match.
    pub(crate) fn matches_day(&self, date: Date) -> bool {
        let (day, weekday) = (self.day.holds_day(date), self.weekday.holds_weekday(date));
        let both = self.day.starred() || self.weekday.starred();
        self.month.holds(date.month()) && if both { day && weekday } else { day || weekday }
    }
}

/// Numbers and ranges between two numbers, and stars that take in the whole field.
fn plain(field: (i8, i8), (low, high): (i8, i8)) -> impl Strategy<Value = (String, Entry)> {
    let one =
        (low..=high).prop_map(|value| (value.to_string(), Entry::Range { low: value, high: value, step: 1 }));
    let range = (low..=high, low..=high, 1..=20_i8).prop_map(|(a, b, step)| {
        let (low, high) = (a.min(b), a.max(b));
        let text = if step == 1 { format!("{low}-{high}") } else { format!("{low}-{high}/{step}") };
        (text, Entry::Range { low, high, step })
    });
    let star = (1..=30_i8).prop_map(move |step| {
        let text = if step == 1 { "*".to_owned() } else { format!("*/{step}") };
        (text, Entry::Range { low: field.0, high: field.1, step })
    });
    prop_oneof![4 => one, 2 => range, 1 => star]
}

fn list(entry: impl Strategy<Value = (String, Entry)>) -> impl Strategy<Value = Field> {
    prop::collection::vec(entry, 1..4).prop_map(|entries| {
        let (texts, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Field { text: texts.join(","), entries }
    })
}

fn any(low: i8, high: i8) -> impl Strategy<Value = Field> {
    let stars = prop_oneof![3 => Just("*"), 1 => Just("?")];
    stars.prop_map(move |text| Field {
        text: text.to_owned(),
        entries: vec![Entry::Range { low, high, step: 1 }],
    })
}

fn time_field(high: i8) -> impl Strategy<Value = Field> {
    prop_oneof![1 => any(0, high), 4 => list(plain((0, high), (0, high)))]
}

/// Hours lie near those at which zones change their clocks.
fn hour_field() -> impl Strategy<Value = Field> {
    prop_oneof![1 => any(0, 23), 1 => list(plain((0, 23), (0, 23))), 4 => list(plain((0, 23), (0, 4)))]
}

fn day_field() -> impl Strategy<Value = Field> {
    let marked = prop_oneof![
        Just(("L".to_owned(), Entry::Last)),
        Just(("lw".to_owned(), Entry::LastWorkday)),
        (1..=31_i8).prop_map(|day| (format!("{day}W"), Entry::NearestWorkday(day))),
    ];
    prop_oneof![4 => any(1, 31), 3 => list(prop_oneof![2 => plain((1, 31), (1, 31)), 1 => marked])]
}

fn weekday_field() -> impl Strategy<Value = Field> {
    let names = ["SUN", "mon", "Tue", "wed", "thu", "fri", "SAT", "7"];
    let named = (0..=6_i8).prop_map(move |day| {
        (names[usize::try_from(day).unwrap()].to_owned(), Entry::Range { low: day, high: day, step: 1 })
    });
    let last = (0..=7_i8)
        .prop_map(move |day| (format!("{}L", names[usize::try_from(day).unwrap()]), Entry::LastWeekday(day)));
    let nth = (0..=7_i8, 1..=5_i8)
        .prop_map(|(day, count)| (format!("{day}#{count}"), Entry::NthWeekday(day, count)));
    prop_oneof![4 => any(0, 7), 3 => list(prop_oneof![2 => plain((0, 7), (0, 7)), 1 => named, 1 => last, 1 => nth])]
}

fn month_field() -> impl Strategy<Value = Field> {
    prop_oneof![3 => any(1, 12), 1 => list(plain((1, 12), (1, 12)))]
}

/// Expressions of five fields, or of six when `seconds`.
pub(crate) fn expression(seconds: bool) -> impl Strategy<Value = Expression> {
    let second = if seconds {
        time_field(59).boxed()
    } else {
        Just(Field { text: "0".to_owned(), entries: vec![Entry::Range { low: 0, high: 0, step: 1 }] }).boxed()
    };
    (second, time_field(59), hour_field(), day_field(), month_field(), weekday_field()).prop_map(
        move |(second, minute, hour, day, month, weekday)| {
            let written = [&second, &minute, &hour, &day, &month, &weekday];
            let texts: Vec<&str> =
                written[usize::from(!seconds)..].iter().map(|field| field.text.as_str()).collect();
            Expression { text: texts.join(" "), second, minute, hour, day, month, weekday }
        },
    )
}

/// Zones with all kinds of changes: none, half an hour, two hours, at midnight, of whole days, of minutes and seconds.
pub(crate) const ZONES: [&str; 16] = [
    "UTC",
    "Asia/Seoul",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/Caracas",
    "America/Nuuk",
    "America/Sao_Paulo",
    "Asia/Pyongyang",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
];
