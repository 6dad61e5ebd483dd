//! Reads a file and those that it includes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use toml::de::DeTable;

use crate::engine::admission::Admission;
use crate::engine::job::JobName;

use super::days::Calendars;
use super::diagnostic::{quoted, shown};
use super::file::{self, FileError};
use super::include;
use super::job::{self, Context, Draft};
use super::report::{Report, Spot};
use super::source::Source;
use super::value::{Choice, Entry, Table, Value};
use super::{Channel, Language, LoadOptions, calendar, channel, order, syntax};

/// The most files of a configuration.
const FILES_MAX: usize = 1000;

/// How deep files may include each other.
const DEPTH_MAX: usize = 16;

/// The most channels of a configuration.
const CHANNELS_MAX: usize = 1000;

/// The most calendars of a configuration.
const CALENDARS_MAX: usize = 1000;

/// The most jobs of a configuration.
const JOBS_MAX: usize = 100_000;

/// The keys of the main file.
const KEYS: &[&str] = &[
    "timezone",
    "language",
    "include",
    "max_running",
    "pools",
    "catch_up",
    "channels",
    "calendars",
    "defaults",
    "jobs",
];

/// The keys of an included file.
const INCLUDED_KEYS: &[&str] = &["include", "channels", "calendars", "jobs"];

/// Keys that are planned.
const PLANNED: &[&str] = &["history", "cloudwatch"];

const LANGUAGE: Choice<Language> =
    Choice { built: &[("ko", Language::Ko), ("en", Language::En)], planned: &[] };

/// An entry of `[jobs]` as it was read.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) draft: Draft,
    /// The key that names it.
    spot: Spot,
    /// The folder of its file, absolute.
    pub(super) folder: PathBuf,
}

/// Everything that the files say.
#[derive(Debug)]
pub(super) struct Loader<'o> {
    options: &'o LoadOptions,
    pub(super) report: Report,
    pub(super) zone: Option<TimeZone>,
    pub(super) language: Option<Language>,
    pub(super) defaults: Draft,
    /// What holds for all runs together.
    pub(super) admission: Admission,
    pub(super) jobs: BTreeMap<JobName, Registered>,
    /// A channel with mistakes is known by name all the same.
    pub(super) channels: BTreeMap<String, (Option<Channel>, Spot)>,
    pub(super) calendars: Calendars,
    /// The files by device and inode, and where they were included.
    seen: BTreeMap<(u64, u64), Option<Spot>>,
    /// The files that are being read, from the main file to the current one.
    chain: Vec<((u64, u64), PathBuf)>,
}

impl<'o> Loader<'o> {
    pub(super) fn new(main: &Path, options: &'o LoadOptions) -> Self {
        Self {
            options,
            report: Report::new(main.to_owned()),
            zone: None,
            language: None,
            defaults: Draft::default(),
            admission: Admission::default(),
            jobs: BTreeMap::new(),
            channels: BTreeMap::new(),
            calendars: BTreeMap::new(),
            seen: BTreeMap::new(),
            chain: Vec::new(),
        }
    }

    /// Reads a file; `origin` is the text that includes it, `None` for the main file.
    pub(super) fn read(&mut self, path: &Path, origin: Option<Spot>) {
        let text = match file::read(path, self.options.trust) {
            Ok(text) => text,
            Err(error) => return self.refuse(path, origin, error),
        };
        if self.is_repeated(text.identity, path, origin.as_ref()) {
            return;
        }
        let included = origin.is_some();
        self.seen.insert(text.identity, origin);
        self.chain.push((text.identity, path.to_owned()));
        self.read_text(path, &text.text, included);
        self.chain.pop();
    }

    /// Reports a file that cannot be read; where it is no text, with the line that is none.
    fn refuse(&mut self, path: &Path, origin: Option<Spot>, error: FileError) {
        let (message, help) = (error.to_string(), error.help());
        let spot = match error {
            FileError::NotText { before, .. } => {
                let (source, offset) = (self.report.next_source(), before.len());
                let line = before.rfind('\n').map_or(0, |at| at + 1);
                let secret = before[line..].contains("url").then_some(line..offset);
                let text = format!("{before}\u{fffd}");
                self.report.add_source(Source::new(
                    path.to_owned(),
                    text,
                    secret.into_iter().collect(),
                    Vec::new(),
                ));
                Some(Spot::new(source, offset..offset + '\u{fffd}'.len_utf8()))
            }
            _ => origin,
        };
        let note = self.report.error(spot, message);
        if let Some(help) = help {
            note.help(help);
        }
    }

    /// Whether a file was included before, which is reported: with the chain when it includes itself.
    fn is_repeated(&mut self, identity: (u64, u64), path: &Path, origin: Option<&Spot>) -> bool {
        let Some(before) = self.seen.get(&identity).cloned() else { return false };
        let message = match self.chain.iter().position(|(open, _)| *open == identity) {
            Some(at) => {
                let chain = self.chain[at..].iter().map(|(_, path)| shown(path));
                let chain: Vec<_> = chain.chain([shown(path)]).collect();
                format!("a file includes itself: {}", chain.join(" -> "))
            }
            None => format!("{} is included twice", shown(path)),
        };
        let note = self.report.error(origin.cloned(), message).help("leave this include out");
        if let Some(before) = before {
            note.first(before);
        }
        true
    }

    fn read_text(&mut self, path: &Path, text: &str, included: bool) {
        // A byte order mark is no part of the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let found = syntax::check(text);
        let (root, _) = DeTable::parse_recoverable(&found.clean);
        let source = self.report.next_source();
        let mut hidden = found.hidden.clone();
        hidden.extend(syntax::channel_secrets(root.get_ref()));
        self.report.add_source(Source::new(path.to_owned(), text.to_owned(), hidden, found.damaged));
        for error in found.errors {
            let note = self.report.error(Spot::new(source, error.span), error.message);
            if let Some(help) = error.help {
                note.help(help);
            }
            if let Some(first) = error.first {
                note.first(Spot::new(source, first));
            }
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = file::folder(&absolute);
        self.read_root(Table::new(source, text, root.get_ref()), path, &folder, included);
    }

    fn read_root(&mut self, root: Table<'_>, path: &Path, folder: &Path, included: bool) {
        let context = Context { folder, uid: self.options.uid, job: None };
        for entry in root.entries() {
            let value = &entry.value;
            match entry.key {
                "include" => self.read_includes(value, path),
                "channels" => self.read_channels(value, folder),
                "calendars" => self.read_calendars(value, path),
                "jobs" => self.read_jobs(value, &context),
                key if included && KEYS.contains(&key) => {
                    let main = self.chain.first().map(|(_, path)| shown(path)).unwrap_or_default();
                    self.report
                        .error(entry.spot.clone(), format!("`{key}` can't stand in an included file"))
                        .help(format!(
                            "move it to {main}; an included file holds jobs, channels, calendars and include"
                        ));
                }
                "timezone" => self.zone = job::zone(&mut self.report, value),
                "language" => self.language = value.choice(&mut self.report, &LANGUAGE),
                "defaults" => {
                    if let Some(table) = value.table(&mut self.report, "[defaults]") {
                        self.defaults = job::read_defaults(&mut self.report, table, &context);
                    }
                }
                _ if order::key_for_all(&mut self.report, &mut self.admission, &entry) => {}
                _ if included => entry.unknown(&mut self.report, "an included file", INCLUDED_KEYS, PLANNED),
                _ => entry.unknown(&mut self.report, "the configuration", KEYS, PLANNED),
            }
        }
    }

    fn read_includes(&mut self, value: &Value<'_>, path: &Path) {
        let patterns = value.strings(&mut self.report, "include = [\"conf.d/*.toml\"]").unwrap_or_default();
        for (pattern, value) in patterns {
            let files = match include::expand(&file::folder(path), pattern) {
                Ok(files) => files,
                Err(error) => {
                    self.report.error(value.spot(), error.to_string()).help(error.help());
                    continue;
                }
            };
            for file in files {
                if self.report.is_full() {
                    return;
                }
                if self.seen.len() >= FILES_MAX {
                    let message = format!("a configuration has at most {FILES_MAX} files");
                    self.report.error(value.spot(), message).help("put more jobs into one file");
                    return;
                }
                if self.chain.len() >= DEPTH_MAX {
                    let message = format!("files include each other more than {DEPTH_MAX} deep");
                    self.report.error(value.spot(), message);
                    return;
                }
                self.read(&file, Some(value.spot()));
            }
        }
    }

    fn read_channels(&mut self, value: &Value<'_>, folder: &Path) {
        let Some(table) = value.table(&mut self.report, "[channels.ops]") else { return };
        for entry in table.entries() {
            if self.channels.len() >= CHANNELS_MAX {
                self.report.error(entry.spot, format!("a configuration has at most {CHANNELS_MAX} channels"));
                return;
            }
            let channel = channel::read(&mut self.report, &entry, folder);
            if let Some((_, first)) = self.channels.get(entry.key) {
                let message = format!("channel {} is given twice", quoted(entry.key));
                self.report.error(entry.spot, message).help("rename one of the two").first(first.clone());
            } else {
                self.channels.insert(entry.key.to_owned(), (channel, entry.spot));
            }
        }
    }

    fn read_calendars(&mut self, value: &Value<'_>, path: &Path) {
        let Some(table) = value.table(&mut self.report, "[calendars.kr]") else { return };
        let origin = calendar::Origin { path, trust: self.options.trust };
        for entry in table.entries() {
            if self.calendars.len() >= CALENDARS_MAX {
                let message = format!("a configuration has at most {CALENDARS_MAX} calendars");
                self.report.error(entry.spot, message);
                return;
            }
            let calendar = calendar::read(&mut self.report, &entry, origin);
            if let Some((_, first)) = self.calendars.get(entry.key) {
                let message = format!("calendar {} is given twice", quoted(entry.key));
                self.report.error(entry.spot, message).help("rename one of the two").first(first.clone());
            } else {
                self.calendars.insert(entry.key.to_owned(), (calendar, entry.spot));
            }
        }
    }

    fn read_jobs(&mut self, value: &Value<'_>, context: &Context<'_>) {
        let Some(table) = value.table(&mut self.report, "[jobs.backup]") else { return };
        for entry in table.entries() {
            if self.report.is_full() {
                return;
            }
            if self.jobs.len() >= JOBS_MAX {
                self.report.error(entry.spot, format!("a configuration has at most {JOBS_MAX} jobs"));
                return;
            }
            let Some(keys) = entry.value.table(&mut self.report, "[jobs.backup]") else { continue };
            let draft = job::read(&mut self.report, &entry.spot, entry.key, keys, context);
            self.register(&entry, draft, context.folder);
        }
    }

    fn register(&mut self, entry: &Entry<'_>, draft: Draft, folder: &Path) {
        let Ok(name) = JobName::new(entry.key) else {
            let message = format!("{} can't be the name of a job", quoted(entry.key));
            let rule = "1 to 64 of a-z, 0-9, '.', '_' and '-', first a letter or digit";
            let help = format!("a name is {rule}: [jobs.{}]", valid_name(entry.key));
            self.report.error(entry.spot.clone(), message).help(help);
            return;
        };
        if let Some(first) = self.jobs.get(&name) {
            let first = first.spot.clone();
            let message = format!("job {} is registered twice", quoted(entry.key));
            self.report.error(entry.spot.clone(), message).help("rename one of the two").first(first);
            return;
        }
        let spot = entry.spot.clone();
        self.jobs.insert(name, Registered { draft, spot, folder: folder.to_owned() });
    }
}

/// A valid name near to what was written.
fn valid_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let word = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' { c } else { '_' };
    let name: String = lower.chars().take(40).map(word).collect();
    let name = name.trim_matches(['_', '-']);
    if name.is_empty() { "backup".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::valid_name;

    #[test]
    fn suggests_names_that_are_valid() {
        for (text, name) in
            [("Invoice Generation", "invoice_generation"), ("청구서", "backup"), ("-rf", "rf"), ("../x", "x")]
        {
            assert_eq!(valid_name(text), name);
            assert!(crate::engine::job::JobName::new(name).is_ok());
        }
    }
}
