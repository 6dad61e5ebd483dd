//! The place `jobctl` writes to, and what that can show.

use std::io::{self, IsTerminal, Write};

use jiff::tz::TimeZone;

use super::args::Color;
use super::error::CliError;
use crate::engine::time::Timestamp;

/// Where output goes and how it is to look. The one instant of "now" that a call of `jobctl` shows is kept here too.
pub(crate) struct Terminal {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Whether a person reads it: hostile output is escaped, and what does not fit is cut.
    pub(crate) tty: bool,
    /// Whether to colour.
    pub(crate) colour: bool,
    /// How many columns there are; none is no limit.
    pub(crate) width: Option<u16>,
    /// The zone times are shown and read in: the configuration's, or the system's until that is known.
    pub(crate) zone: TimeZone,
    /// When the call began.
    pub(crate) now: Timestamp,
}

impl Terminal {
    /// The process's own stdout and stderr. `no_color` is whether the environment asks for none.
    pub(crate) fn of_process(color: Color, no_color: bool, now: Timestamp) -> Self {
        let tty = io::stdout().is_terminal();
        let colour = wants_colour(color, tty, no_color);
        let width = if tty { comfy_table::Table::new().width() } else { None };
        let (out, err) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Self { out, err, tty, colour, width, zone: TimeZone::system(), now }
    }

    /// Shows times in this zone from here on; in the system's where the name is not known.
    pub(crate) fn use_zone(&mut self, name: Option<&str>) {
        if let Some(zone) = name.and_then(|name| TimeZone::get(name).ok()) {
            self.zone = zone;
        }
    }

    /// Writes text to stdout, all of it before this returns.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), CliError> {
        self.write(text.as_bytes())
    }

    /// Writes bytes to stdout, all of them before this returns.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(CliError::Output)
    }

    /// Writes bytes to stderr.
    pub(crate) fn write_err(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.err.write_all(bytes).and_then(|()| self.err.flush()).map_err(CliError::Output)
    }

    /// Writes a value as JSON to stdout.
    pub(crate) fn print_json(&mut self, value: &impl serde::Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|error| CliError::Output(error.into()))?;
        text.push(b'\n');
        self.write(&text)
    }

    /// Says something beside the facts, on stderr. Where nobody can hear it, it is not said.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }
}

const fn wants_colour(color: Color, tty: bool, no_color: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => tty && !no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_never_with_no_color() {
        assert!(wants_colour(Color::Auto, true, false));
        assert!(!wants_colour(Color::Auto, true, true));
        assert!(!wants_colour(Color::Auto, false, false));
        assert!(!wants_colour(Color::Never, true, false));
        assert!(wants_colour(Color::Always, false, true), "who asks for colours on the spot gets them");
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A pipe in Seoul into which nobody looks.
    pub(crate) fn pipe(now: &str) -> Terminal {
        Terminal {
            out: Box::new(io::sink()),
            err: Box::new(io::sink()),
            tty: false,
            colour: false,
            width: None,
            zone: TimeZone::get("Asia/Seoul").unwrap(),
            now: now.parse().unwrap(),
        }
    }
}
