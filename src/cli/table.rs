//! Aligned columns without borders, and blocks of named facts.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row};

use super::terminal::Terminal;
use super::text;
use crate::engine::run::Status;

/// The columns between two columns.
const GAP: u16 = 2;

/// A table whose last column gives way when a terminal is too narrow.
pub(crate) struct Table {
    inner: comfy_table::Table,
    columns: usize,
}

impl Table {
    /// A table with this header.
    pub(crate) fn new(terminal: &Terminal, header: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(NOTHING).set_truncation_indicator("…");
        if terminal.colour {
            inner.enforce_styling();
        } else {
            inner.force_no_tty();
        }
        match terminal.width {
            Some(width) => inner.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => inner.set_content_arrangement(ContentArrangement::Disabled),
        };
        inner.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
        Self { inner, columns: header.len() }
    }

    /// Aligns a column of numbers.
    pub(crate) fn right(mut self, column: usize) -> Self {
        if let Some(column) = self.inner.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self
    }

    /// Adds a row, one line high.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        let mut row = Row::from(cells);
        row.max_height(1);
        self.inner.add_row(row);
    }

    /// The table as text, with a line's end after each row and nothing else at the end of a line.
    pub(crate) fn render(mut self) -> String {
        let last = self.columns.saturating_sub(1);
        for (index, column) in self.inner.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { GAP }));
            if index != last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let mut out = String::new();
        for line in self.inner.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A cell of our own words or of others'.
pub(crate) fn cell(content: &str) -> Cell {
    Cell::new(text::inert(content))
}

/// A cell that says `-` where there is nothing.
pub(crate) fn optional(content: Option<String>) -> Cell {
    Cell::new(content.unwrap_or_else(|| "-".to_owned()))
}

/// A status in its colour.
pub(crate) fn status(status: Status) -> Cell {
    let cell = Cell::new(status);
    match colour(status) {
        Some(colour) => cell.fg(colour),
        None => cell,
    }
}

const fn colour(status: Status) -> Option<Color> {
    match status {
        Status::Success => Some(Color::Green),
        Status::Running => Some(Color::Cyan),
        Status::Failed | Status::Timeout | Status::Lost => Some(Color::Red),
        Status::Killed | Status::Missed => Some(Color::Yellow),
        Status::Queued | Status::Skipped => None,
    }
}

/// Named facts under a title, one a line, the names aligned. Words of others must come inert.
pub(crate) fn facts(title: &str, facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = format!("{title}\n");
    for (name, value) in facts {
        out.push_str(format!("  {name:width$}  {value}").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::*;

    fn sample(terminal: &Terminal) -> String {
        let mut table = Table::new(terminal, &["RUN", "STATUS", "MESSAGE"]).right(0);
        table.row(vec![cell("7"), status(Status::Success), cell("213건 청구서 발행 완료")]);
        table.row(vec![
            cell("128"),
            status(Status::Failed),
            cell("smtp: connection\nrefused by mail.example.com"),
        ]);
        table.render()
    }

    #[test]
    fn a_pipe_gets_every_word_and_no_colour() {
        let terminal = pipe("2026-11-01T01:00:00Z");
        let expected = "\
RUN  STATUS   MESSAGE
  7  SUCCESS  213건 청구서 발행 완료
128  FAILED   smtp: connection\\nrefused by mail.example.com
";
        assert_eq!(sample(&terminal), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_last_column_only() {
        let mut terminal = pipe("2026-11-01T01:00:00Z");
        (terminal.tty, terminal.width) = (true, Some(34));
        let text = sample(&terminal);
        assert!(text.lines().all(|line| line.chars().count() <= 34), "{text}");
        assert!(text.contains("128  FAILED   smtp:"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_colourful_terminal_gets_bold_headers_and_red_failures() {
        let mut terminal = pipe("2026-11-01T01:00:00Z");
        terminal.colour = true;
        let text = sample(&terminal);
        assert!(text.contains("\x1b[1m"), "{text:?}");
        assert!(text.contains("\x1b[38;5;9m") || text.contains("\x1b[31m"), "{text:?}");
    }

    #[test]
    fn facts_are_aligned() {
        let block = facts("backup", &[("next", "soon".to_owned()), ("kill grace", "10s".to_owned())]);
        assert_eq!(block, "backup\n  next        soon\n  kill grace  10s\n");
    }
}
