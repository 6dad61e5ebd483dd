//! The grammar of one field: a list of numbers, names, ranges, steps and the marks `L`, `W` and `#`.

use super::ScheduleError;
use super::times::Bits;

/// How much of an offending text a message repeats, in characters.
const QUOTED: usize = 40;
/// How many digits a number may have; no field and no sensible step needs more.
const DIGITS: usize = 4;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// Which field of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

/// What a field says.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Whether its text begins with `*` (or is `?`, which means the same).
    pub(super) starred: bool,
    pub(super) entries: Vec<Entry>,
}

/// One entry of a field's list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// Plain numbers.
    Values(Bits),
    /// `L`: the last day of the month.
    Last,
    /// `LW`: the last working day of the month.
    LastWorkday,
    /// `nW`: the working day nearest to day n.
    NearestWorkday(u8),
    /// `nL`: the last such weekday of the month.
    LastWeekday(u8),
    /// `n#k`: the k-th such weekday of the month, counted from 1.
    NthWeekday(u8, u8),
}

/// A part of the expression, with its place in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'t> {
    pub(super) text: &'t str,
    /// Where it begins, in bytes.
    pub(super) at: usize,
}

impl Piece<'_> {
    /// A part of this part; both ends must be borders of characters.
    pub(super) fn slice(self, from: usize, to: usize) -> Self {
        Self { text: &self.text[from..to], at: self.at + from }
    }

    /// What lies before and behind the first occurrence of a mark.
    pub(super) fn split_once(self, mark: char) -> Option<(Self, Self)> {
        let place = self.text.find(mark)?;
        Some((self.slice(0, place), self.slice(place + mark.len_utf8(), self.text.len())))
    }

    /// Its entries: what lies between the commas.
    pub(super) fn entries(self) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(',').map(move |text| {
            let piece = Piece { text, at };
            at += text.len() + 1;
            piece
        })
    }

    /// Its text without a suffix, which may be in either case.
    fn without_suffix(self, suffix: char) -> Option<Self> {
        let last = self.text.chars().next_back()?;
        last.eq_ignore_ascii_case(&suffix).then(|| self.slice(0, self.text.len() - 1))
    }

    fn is(self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// An error at this place.
    pub(super) fn error(self, message: String) -> ScheduleError {
        ScheduleError { span: self.at..self.at + self.text.len(), message, help: None }
    }

    /// The text as a message repeats it: between backticks, cut when it is long.
    pub(super) fn quoted(self) -> String {
        match self.text.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("`{}…`", self.text[..end].escape_debug()),
            None => format!("`{}`", self.text.escape_debug()),
        }
    }
}

impl ScheduleError {
    /// The error with its remedy.
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Field {
    /// The field as people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// The smallest and the largest number that it takes.
    const fn limits(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    /// The smallest and the largest number that `H` stands for: those that every month and every week has, once.
    pub(super) const fn hashed_limits(self) -> (u8, u8) {
        match self {
            Self::DayOfMonth => (1, 28),
            Self::DayOfWeek => (0, 6),
            _ => self.limits(),
        }
    }

    /// The long forms of the names that it takes; what it takes are their first three letters.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    /// Reads the field's text.
    pub(super) fn parse(self, field: Piece<'_>) -> Result<Parsed, ScheduleError> {
        let (low, high) = self.limits();
        if field.text == "?" {
            return Ok(Parsed { starred: true, entries: vec![Entry::Values(Bits::range(low, high, 1))] });
        }
        let entries = field.entries().map(|entry| self.entry(entry)).collect::<Result<_, _>>()?;
        Ok(Parsed { starred: field.text.starts_with('*'), entries })
    }

    fn entry(self, entry: Piece<'_>) -> Result<Entry, ScheduleError> {
        if entry.text.is_empty() {
            let message = format!("{}: an entry of the list is empty", self.name());
            return Err(entry.error(message).with_help("write numbers with one comma between two of them"));
        }
        match self.marked(entry)? {
            Some(marked) => Ok(marked),
            None => self.values(entry).map(Entry::Values),
        }
    }

    /// Reads an entry with one of the marks that the day fields know; `None` when it has none.
    fn marked(self, entry: Piece<'_>) -> Result<Option<Entry>, ScheduleError> {
        match self {
            Self::DayOfMonth => self.marked_day(entry),
            Self::DayOfWeek => self.marked_weekday(entry),
            _ => Ok(None),
        }
    }

    fn marked_day(self, entry: Piece<'_>) -> Result<Option<Entry>, ScheduleError> {
        if entry.is("L") {
            return Ok(Some(Entry::Last));
        }
        if entry.is("LW") {
            return Ok(Some(Entry::LastWorkday));
        }
        if entry.text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("L-")) {
            let message =
                format!("{} {}: days before the last one are not supported", self.name(), entry.quoted());
            return Err(entry.error(message).with_help("`L` is the last day, `LW` the last working day"));
        }
        match entry.without_suffix('W').filter(|day| day.text.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(day) if !day.text.is_empty() => Ok(Some(Entry::NearestWorkday(self.value(entry, day)?))),
            _ => Ok(None),
        }
    }

    fn marked_weekday(self, entry: Piece<'_>) -> Result<Option<Entry>, ScheduleError> {
        if entry.is("L") {
            let message = format!("{} {}: it does not say which weekday", self.name(), entry.quoted());
            return Err(entry.error(message).with_help(
                "`5L` is the last Friday of the month; for the last day \
                write `L` in the day of month field",
            ));
        }
        if let Some((weekday, count)) = entry.split_once('#') {
            let weekday = self.value(entry, weekday)? % 7;
            return match count.text {
                "1" | "2" | "3" | "4" | "5" => {
                    Ok(Some(Entry::NthWeekday(weekday, count.text.as_bytes()[0] - b'0')))
                }
                _ => {
                    let message =
                        format!("{} {}: {} is not 1 to 5", self.name(), entry.quoted(), count.quoted());
                    Err(count.error(message).with_help("`5#2` is the second Friday of the month"))
                }
            };
        }
        match entry.without_suffix('L') {
            Some(weekday) => Ok(Some(Entry::LastWeekday(self.value(entry, weekday)? % 7))),
            None => Ok(None),
        }
    }

    /// Reads `*`, a number, a name or a range, with or without a step.
    fn values(self, entry: Piece<'_>) -> Result<Bits, ScheduleError> {
        let (base, step) = match entry.split_once('/') {
            Some((base, step)) => (base, Some(step)),
            None => (entry, None),
        };
        let (low, high) = if base.text == "*" {
            self.limits()
        } else if let Some((from, to)) = base.split_once('-') {
            self.range(entry, from, to)?
        } else {
            let value = self.value(entry, base)?;
            if step.is_some() {
                return Err(self.bare_step(entry, value));
            }
            (value, value)
        };
        let step = step.map_or(Ok(1), |step| self.step(entry, step))?;
        Ok(Bits::range(low, high, step))
    }

    pub(super) fn range(
        self,
        entry: Piece<'_>,
        from: Piece<'_>,
        to: Piece<'_>,
    ) -> Result<(u8, u8), ScheduleError> {
        let (low, high) = (self.value(entry, from)?, self.value(entry, to)?);
        if low <= high {
            return Ok((low, high));
        }
        // Debian's cron has no seconds, and takes such a range everywhere else.
        let debian = if self == Self::Second { "" } else { "; Debian's cron takes it and never fires" };
        let message = format!("{} {}: the range runs backwards{debian}", self.name(), entry.quoted());
        Err(entry.error(message).with_help(format!("write {}", self.two_ranges(low, high))))
    }

    /// What a range that runs backwards, around the field's end, stands for.
    fn two_ranges(self, low: u8, high: u8) -> String {
        let span = |from: u8, to: u8| if from == to { from.to_string() } else { format!("{from}-{to}") };
        match (self, low, high) {
            (Self::DayOfWeek, 7, _) => span(0, high),
            (Self::DayOfWeek, _, 0) => span(low, 7),
            (Self::DayOfWeek, _, _) => format!("{},{}", span(low, 7), span(1, high)),
            _ => format!("{},{}", span(low, self.limits().1), span(self.limits().0, high)),
        }
    }

    fn bare_step(self, entry: Piece<'_>, value: u8) -> ScheduleError {
        let step = entry.text.split_once('/').map_or("", |(_, step)| step);
        let message = format!("{} {}: a step needs a range or *", self.name(), entry.quoted());
        let error = entry.error(message);
        // What follows the slash may be anything; only a sound step is repeated.
        match step.parse::<u16>() {
            Ok(step @ 1..) => error.with_help(format!("write {value}-{}/{step}", self.limits().1)),
            _ => error,
        }
    }

    pub(super) fn step(self, entry: Piece<'_>, step: Piece<'_>) -> Result<u16, ScheduleError> {
        let name = self.name();
        let number = number(step).ok_or_else(|| {
            let message = format!("{name} {}: {} is not a step", entry.quoted(), step.quoted());
            step.error(message).with_help("a step is a number from 1 on: `*/5`")
        })?;
        if number == 0 {
            let message = format!("{name} {}: a step of 0 never moves", entry.quoted());
            return Err(step.error(message).with_help("a step is a number from 1 on: `*/5`"));
        }
        // Debian's cron takes a step of any size elsewhere; it has no seconds, so here nothing binds us to that.
        if self == Self::Second && number > 59 {
            let message = format!("{name} {}: a step of {number} is longer than a minute", entry.quoted());
            return Err(step
                .error(message)
                .with_help("for whole minutes write 0 here, and the step in the next field"));
        }
        Ok(number)
    }

    /// Reads a number or a name.
    fn value(self, entry: Piece<'_>, value: Piece<'_>) -> Result<u8, ScheduleError> {
        let starts_like_a_number = value.text.starts_with(|first: char| first.is_ascii_digit());
        if !starts_like_a_number {
            return self.named(entry, value);
        }
        let (low, high) = self.limits();
        let name = self.name();
        if !value.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = format!("{name} {}: {} is not a number", entry.quoted(), value.quoted());
            return Err(value.error(message).with_help(format!("{name} goes from {low} to {high}")));
        }
        match number(value).and_then(|number| u8::try_from(number).ok()) {
            Some(number) if (low..=high).contains(&number) => Ok(number),
            _ => {
                let message = format!("{name} {}: {} is out of range", entry.quoted(), value.quoted());
                Err(value.error(message).with_help(format!("{name} goes from {low} to {high}")))
            }
        }
    }

    fn named(self, entry: Piece<'_>, value: Piece<'_>) -> Result<u8, ScheduleError> {
        let (low, high) = self.limits();
        let place = self.names().iter().position(|name| value.is(&name[..3]));
        if let Some(place) = place.and_then(|place| u8::try_from(place).ok()) {
            // Months count from 1 and weekdays from 0: from the field's smallest number.
            return Ok(place + low);
        }
        let name = self.name();
        if value.text.is_empty() {
            let message = format!("{name} {}: a number is missing", entry.quoted());
            return Err(entry.error(message).with_help(format!("{name} goes from {low} to {high}")));
        }
        let what = if self.names().is_empty() { "a number" } else { "a number or a name" };
        let error = value.error(format!("{name} {}: {} is not {what}", entry.quoted(), value.quoted()));
        Err(match self.nearest_name(value.text) {
            Some(nearest) => error.with_help(format!("did you mean {nearest}? names have three letters")),
            None => error.with_help(format!("{name} goes from {low} to {high}")),
        })
    }

    /// The name that was probably meant: its long or its short form differs from the text in two letters at most.
    fn nearest_name(self, text: &str) -> Option<&'static str> {
        // No name with its two wrong letters is longer, so what is longer is not compared at all.
        if text.len() > 11 {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let distance = |name: &str| {
            let (long, short) =
                (strsim::damerau_levenshtein(&text, name), strsim::damerau_levenshtein(&text, &name[..3]));
            long.min(short)
        };
        let nearest = self.names().iter().min_by_key(|name| distance(name))?;
        (distance(nearest) <= 2).then(|| &nearest[..3])
    }
}

/// A number of few enough digits.
fn number(piece: Piece<'_>) -> Option<u16> {
    let digits = piece.text.len() <= DIGITS && piece.text.bytes().all(|byte| byte.is_ascii_digit());
    piece.text.parse().ok().filter(|_| digits)
}
