//! A mistake in the configuration, as people and programs are told of it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// Whether the configuration can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot: the whole configuration is refused.
    Error,
    /// It can, but something in it will not work as written.
    Warning,
}

/// A stretch of text in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named by the caller or by the `include` that led to it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1; a tab is one character.
    pub column: usize,
    /// The bytes of the file.
    pub span: Range<usize>,
    /// The offending text, cut to its first line; secrets are masked.
    pub text: String,
    /// The line of the file around it, cut to what a screen can hold; secrets are masked.
    pub source_line: String,
    /// Which bytes of `source_line` to underline.
    pub(super) mark: Range<usize>,
    /// Whether the beginning of the line was cut off.
    pub(super) cut: bool,
}

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// The file it is in.
    pub file: PathBuf,
    /// Where in the file; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, naming the offending text.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The other place, when two contradict each other.
    pub first: Option<Place>,
}

/// Why a configuration was refused: every mistake that could be found, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The main file, as the caller named it.
    pub file: PathBuf,
    /// The mistakes, and the warnings found beside them.
    pub diagnostics: Vec<Diagnostic>,
}

impl Diagnostic {
    /// The report on this one mistake, as rustc would lay it out, without a final newline.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let file = printable(&self.file.display().to_string());
        let title = level.primary_title(printable(&self.message));
        let mut groups = vec![match &self.place {
            Some(place) => point(Group::with_title(title), place),
            None => Group::with_title(title).element(Origin::path(file)),
        }];
        if let Some(help) = &self.help
            && let Some(group) = groups.pop()
        {
            groups.push(group.element(Level::HELP.message(printable(help))));
        }
        if let Some(first) = &self.first {
            groups
                .push(point(Group::with_title(Level::NOTE.secondary_title("the first one is here")), first));
        }
        renderer.render(&groups)
    }
}

/// Adds the line of a place and its underline.
fn point<'a>(group: Group<'a>, place: &'a Place) -> Group<'a> {
    let path = printable(&place.file.display().to_string());
    let snippet = Snippet::source(place.source_line.as_str())
        .line_start(place.line)
        .fold(false)
        .annotation(AnnotationKind::Primary.span(place.mark.clone()));
    if place.cut {
        let origin = Origin::path(path).line(place.line).char_column(place.column);
        group.element(origin).element(snippet)
    } else {
        group.element(snippet.path(path))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Rejected {
    /// The whole report, ending in a line that counts the mistakes.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&diagnostic.render(colour));
            text.push_str("\n\n");
        }
        text + &format!("{}: {}", shown(&self.file), self.count())
    }

    fn count(&self) -> String {
        let mistakes = self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Rejected {}

/// A path for a terminal.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// Text of strangers for a terminal: what could steer it, or turn the reading direction, is escaped.
fn printable(text: &str) -> String {
    let steers = |c: char| (c.is_control() && c != '\n') || is_bidi(c);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks that change the direction in which text is shown.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Offending text in quotes, escaped and cut to what fits into a sentence.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
