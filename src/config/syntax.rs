//! Finds every syntax error of a TOML text, and leaves a text without them for the checks that follow.
//!
//! A parser that has lost its way at an open bracket or quote misreads everything behind it. So the text is cut
//! into statements, each of which is parsed by itself; the broken ones are reported and blanked out.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::report::MISTAKES_MAX;

/// How many times the whole text is parsed again in search of errors that no statement shows by itself.
const ROUNDS_MAX: usize = 20;

/// How many lines that look like statements may lie within one statement (a multi-line inline table).
const MERGED_MAX: usize = 50;

/// How far lines are tried together: each try parses them again.
const MERGED_BYTES_MAX: usize = 16 * 1024;

/// How many broken statements are looked at closely.
const BROKEN_MAX: usize = 200;

/// A violation of TOML's grammar.
#[derive(Debug, Clone)]
pub(super) struct SyntaxError {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Where the same key stands for the first time.
    pub(super) first: Option<Range<usize>>,
}

/// What became of a text.
#[derive(Debug, Default)]
pub(super) struct Syntax {
    /// The text with broken statements turned into spaces; all offsets are kept.
    pub(super) clean: String,
    pub(super) errors: Vec<SyntaxError>,
    /// The tables in which statements were broken.
    pub(super) damaged: Vec<Range<usize>>,
    /// What may hold a secret and cannot be told apart any more.
    pub(super) hidden: Vec<Range<usize>>,
}

/// A statement with the lines that belong to it.
#[derive(Debug, Clone)]
struct Statement {
    range: Range<usize>,
    /// Whether it is the header of a table.
    header: bool,
    /// The name of a table or key, without white space and quotes.
    name: String,
    /// The number of headers up to it.
    section: usize,
}

/// Parses a text.
pub(super) fn check(text: &str) -> Syntax {
    let mut syntax = Syntax { clean: text.to_owned(), ..Syntax::default() };
    let errors = parse_errors(text);
    if errors.is_empty() {
        return syntax;
    }
    let statements = statements(text);
    if errors.iter().any(|error| !is_duplicate(error)) {
        for index in broken_statements(text, &statements) {
            report(&mut syntax, text, &statements, index);
        }
        search_rest(&mut syntax, &statements);
    }
    let places = FirstPlaces::new(&statements);
    for error in parse_errors(&syntax.clean).iter().filter(|error| is_duplicate(error)).take(MISTAKES_MAX) {
        let span = error.span().unwrap_or_default();
        let first = places.find(text, span.start);
        let message = format!("{} is given twice", super::diagnostic::quoted(&text[span.clone()]));
        syntax.errors.push(SyntaxError {
            span,
            message,
            help: Some("keep one of the two".to_owned()),
            first,
        });
    }
    hide_secrets(&mut syntax, text, &statements);
    syntax
}

fn parse_errors(text: &str) -> Vec<Error> {
    DeTable::parse_recoverable(text).1
}

/// Whether the grammar is right and only a key is given twice.
fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key" && error.span().is_some()
}

/// The statements that do not parse by themselves, nor together with what follows them.
fn broken_statements(text: &str, statements: &[Statement]) -> Vec<usize> {
    let fails = |range: Range<usize>| parse_errors(&text[range]).iter().any(|error| !is_duplicate(error));
    let mut broken = Vec::new();
    let mut index = 0;
    while index < statements.len() && broken.len() < BROKEN_MAX {
        let start = statements[index].range.start;
        let same = |other: &&Statement| other.section == statements[index].section;
        let small = |other: &&Statement| other.range.start - start < MERGED_BYTES_MAX;
        let rest = statements[index..].iter().take_while(same).take(MERGED_MAX).take_while(small);
        let merged = rest.map(|last| last.range.end).position(|end| !fails(start..end));
        if merged.is_none() {
            broken.push(index);
        }
        index += merged.unwrap_or(0) + 1;
    }
    broken
}

/// Reports a broken statement by its first error, and blanks it; a header takes its whole table along, whose
/// keys would else be read as the keys of the table before.
fn report(syntax: &mut Syntax, text: &str, statements: &[Statement], index: usize) {
    let statement = &statements[index];
    let range = statement.range.clone();
    if let Some(error) = parse_errors(&text[range.clone()]).iter().min_by_key(|error| start(error)) {
        let at = error.span().unwrap_or_default();
        push(syntax, error, visible(text, at.start + range.start..at.end + range.start));
    }
    let of_section = |other: &&Statement| other.section == statement.section;
    let begin = statements.iter().find(of_section).map_or(range.start, |first| first.range.start);
    let end = statements.iter().rfind(of_section).map_or(range.end, |last| last.range.end);
    blank(&mut syntax.clean, if statement.header { begin..end } else { range });
    syntax.damaged.push(begin..end);
}

/// Takes errors one by one that only the whole text shows.
fn search_rest(syntax: &mut Syntax, statements: &[Statement]) {
    for _ in 0..ROUNDS_MAX {
        let errors = parse_errors(&syntax.clean);
        let Some(error) = errors.iter().filter(|error| !is_duplicate(error)).min_by_key(|error| start(error))
        else {
            return;
        };
        let span = error.span().unwrap_or_default();
        push(syntax, error, visible(&syntax.clean, span.clone()));
        let Some(statement) = around(statements, span.start).map(|index| &statements[index]) else {
            return;
        };
        blank(&mut syntax.clean, statement.range.clone());
        syntax.damaged.push(statement.range.clone());
    }
}

/// A stretch that can be underlined: where the parser names a point between two characters, what stands before it
/// on the line, from the value on if there is one.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let Some(before) = text.get(..span.start).filter(|_| span.is_empty()) else { return span };
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    let value = line.find('=').map_or(line, |equals| &line[equals + 1..]).trim_start();
    if value.is_empty() { span } else { span.start - value.len()..span.end }
}

fn start(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn push(syntax: &mut Syntax, error: &Error, span: Range<usize>) {
    let (message, help) = explain(error.message());
    syntax.errors.push(SyntaxError { span, message, help, first: None });
}

/// The parser's message in words for someone who does not know its grammar.
fn explain(message: &str) -> (String, Option<String>) {
    let told = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    if message.starts_with("invalid basic string, expected `\"`") {
        told("the string is not closed", "end it with \"")
    } else if message.starts_with("invalid literal string, expected `'`") {
        told("the string is not closed", "end it with '")
    } else if message.starts_with("string values must be quoted") {
        told("a string is written without quotes", "write \"…\"")
    } else if message.starts_with("unclosed array") {
        told("the list is not closed", "end it with ]")
    } else if message.starts_with("unclosed table") {
        told("the header of the table is not closed", "end it with ]")
    } else if message.starts_with("key with no value") {
        told("the key has no value", "write `key = value`, or begin the line with #")
    } else {
        (format!("this is not TOML: {message}"), None)
    }
}

/// Turns everything but line breaks into spaces.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces: String = text[range.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &spaces);
}

/// The names of statements, and where each stands for the first time.
struct FirstPlaces<'s> {
    statements: &'s [Statement],
    first: BTreeMap<(usize, &'s str), usize>,
}

impl<'s> FirstPlaces<'s> {
    fn new(statements: &'s [Statement]) -> Self {
        let mut first = BTreeMap::new();
        for (index, statement) in statements.iter().enumerate() {
            first.entry(statement.scope()).or_insert(index);
        }
        Self { statements, first }
    }

    /// Where the key or header around an offset stands for the first time.
    fn find(&self, text: &str, offset: usize) -> Option<Range<usize>> {
        let index = around(self.statements, offset)?;
        let first = *self.first.get(&self.statements[index].scope())?;
        if first == index {
            return None;
        }
        let Statement { range, header, .. } = &self.statements[first];
        let line = text[range.clone()].lines().next()?;
        let start = range.start + line.len() - line.trim_start().len();
        let end = if *header { line.len() } else { line.find('=')? };
        Some(start..range.start + line[..end].trim_end().len())
    }
}

impl Statement {
    /// A header's name is its own in the whole text, a key's within its table.
    fn scope(&self) -> (usize, &str) {
        (if self.header { usize::MAX } else { self.section }, &self.name)
    }
}

/// The index of the statement around an offset.
fn around(statements: &[Statement], offset: usize) -> Option<usize> {
    statements.partition_point(|statement| statement.range.start <= offset).checked_sub(1)
}

/// Hides what a broken channel could disclose: its keys can no longer be told apart.
fn hide_secrets(syntax: &mut Syntax, text: &str, statements: &[Statement]) {
    let mut channel = false;
    for statement in statements {
        if statement.header {
            channel = statement.name.starts_with("channels");
        }
        let body = &text[statement.range.clone()];
        let suspect = channel && statement.name != "type" || body.contains("url");
        if let (true, Some(equals)) = (suspect && !statement.header, body.find('=')) {
            let value = &body[equals + 1..];
            let start = statement.range.end - value.trim_start().len();
            syntax.hidden.push(start..statement.range.end);
        }
    }
}

/// Where the strings of channels stand, which may be secrets whatever their keys are called; only what says where a
/// secret comes from, and the type, may be shown.
pub(super) fn channel_secrets(root: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut values: Vec<_> = root.get("channels").into_iter().collect();
    while let Some(value) = values.pop() {
        match value.get_ref() {
            DeValue::String(_) => hidden.push(value.span()),
            DeValue::Array(items) => values.extend(items.iter()),
            DeValue::Table(table) => {
                let shown = |key: &str| ["type", "env", "file"].contains(&key);
                values.extend(table.iter().filter(|(key, _)| !shown(key.get_ref())).map(|(_, value)| value));
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }
    hidden
}

/// Cuts a text at each line that looks like the beginning of a statement.
fn statements(text: &str) -> Vec<Statement> {
    let mut statements = vec![Statement { range: 0..0, header: false, name: String::new(), section: 0 }];
    let (mut offset, mut section, mut quote) = (0, 0, None);
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let begins = if quote.is_none() { begins_statement(line) } else { None };
        quote = multi_line_quote(line, quote);
        if let Some((header, name)) = begins {
            section += usize::from(header);
            statements.push(Statement { range: start..offset, header, name, section });
        } else if let Some(last) = statements.last_mut() {
            last.range.end = offset;
        }
    }
    statements
}

/// Whether a line is a header or `key = …`, and its name.
fn begins_statement(line: &str) -> Option<(bool, String)> {
    let key_char = |c: char| c.is_alphanumeric() || "_-.\"' \t".contains(c);
    let bare = |name: &str| name.replace(['"', '\'', ' ', '\t'], "");
    if line.starts_with('[') {
        let name = line.split('#').next()?.trim_matches(['[', ']', ' ', '\t', '\r', '\n']);
        return (!name.is_empty() && name.chars().all(|c| key_char(c) || c == ']'))
            .then(|| (true, bare(name)));
    }
    let (name, _) = line.split_once('=')?;
    let closed = name.matches('"').count() % 2 == 0 && name.matches('\'').count() % 2 == 0;
    (closed && !name.trim().is_empty() && name.chars().all(key_char)).then(|| (false, bare(name)))
}

/// Which multi-line quote is open at the end of a line.
fn multi_line_quote(line: &str, open: Option<u8>) -> Option<u8> {
    let (bytes, mut open, mut at) = (line.as_bytes(), open, 0);
    while let Some(&[a, b, c]) = bytes.get(at..at + 3).and_then(|three| three.first_chunk()) {
        let quote = matches!(a, b'"' | b'\'') && a == b && b == c && open.is_none_or(|open| open == a);
        if quote {
            open = if open.is_some() { None } else { Some(a) };
        }
        at += if quote { 3 } else { 1 };
    }
    open
}
