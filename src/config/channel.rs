//! `[channels.*]`: where alerts go.

use std::path::Path;

use crate::engine::job::JobName;

use super::Channel;
use super::diagnostic::quoted;
use super::report::Report;
use super::secret::{Secret, SecretText};
use super::value::{Choice, Entry, Table, Value};

/// The keys of a channel.
const KEYS: &[&str] = &["type", "url"];

/// What a channel's `url` may look like.
const URL_EXAMPLE: &str = "url = { env = \"JOBD_SLACK_WEBHOOK\" }";

/// The kinds of channels.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Slack,
}

const KIND: Choice<Kind> = Choice {
    built: &[("slack", Kind::Slack)],
    planned: &["webhook", "email", "discord", "telegram", "command"],
};

/// Reads a channel; `None` when it has mistakes, which are reported.
pub(super) fn read(report: &mut Report, entry: &Entry<'_>, folder: &Path) -> Option<Channel> {
    if JobName::new(entry.key).is_err() {
        report
            .error(entry.spot.clone(), format!("{} can't be the name of a channel", quoted(entry.key)))
            .help("a name is 1 to 64 of a-z, 0-9, '.', '_' and '-': [channels.ops]");
    }
    let table = entry.value.table(report, "[channels.ops]")?;
    for key in table.entries().filter(|key| !KEYS.contains(&key.key)) {
        key.unknown(report, "a channel", KEYS, &[]);
    }
    if !report.is_damaged(&entry.spot) {
        for (key, example) in [("type", "type = \"slack\""), ("url", URL_EXAMPLE)] {
            if !table.has(key) {
                report
                    .error(entry.spot.clone(), format!("channel {} has no `{key}`", quoted(entry.key)))
                    .help(format!("add, for example, {example}"));
            }
        }
    }
    let kind = table.get("type").and_then(|key| key.value.choice(report, &KIND));
    let url = table.get("url").and_then(|key| url(report, &key.value, folder));
    match kind? {
        Kind::Slack => Some(Channel::Slack { url: url? }),
    }
}

/// A URL, taken at its word: only what can be no URL at all is noticed.
fn url(report: &mut Report, value: &Value<'_>, folder: &Path) -> Option<Secret> {
    let secret = secret(report, value, folder)?;
    match secret.read() {
        Ok(text) if is_url(text.expose()) => {}
        Ok(_) => {
            let message = "`url` is no URL: it does not begin with http:// or https://, or has spaces in it";
            match secret {
                Secret::Text(_) => report.error(value.spot(), message),
                Secret::Env(_) | Secret::File(_) => report.warning(value.spot(), message),
            };
        }
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            report
                .warning(value.spot(), format!("`url` can't be read now: {error}{cause}"))
                .help("until it can be, alerts to this channel wait");
        }
    }
    Some(secret)
}

fn is_url(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control()))
}

/// A secret: `"text"`, `{ env = "NAME" }` or `{ file = "path" }`.
fn secret(report: &mut Report, value: &Value<'_>, folder: &Path) -> Option<Secret> {
    if !value.is_table() {
        let text = value.string(report, URL_EXAMPLE)?;
        return Some(Secret::Text(SecretText::new(text.to_owned())));
    }
    let table: Table<'_> = value.table(report, URL_EXAMPLE)?;
    let mut found = Vec::new();
    for entry in table.entries() {
        match entry.key {
            "env" => {
                let name = entry.value.string(report, URL_EXAMPLE)?;
                if name.is_empty() || name.contains('=') {
                    report.error(
                        entry.value.spot(),
                        format!("{} can't be the name of a variable", quoted(name)),
                    );
                    return None;
                }
                found.push(Secret::Env(name.to_owned()));
            }
            "file" => {
                let path = entry.value.string(report, "url = { file = \"/etc/jobd/slack-webhook\" }")?;
                found.push(Secret::File(folder.join(path)));
            }
            _ => {
                entry.unknown(report, "a secret", &["env", "file"], &[]);
                return None;
            }
        }
    }
    if found.len() != 1 {
        report
            .error(value.spot(), "a secret comes from one place")
            .help("write \"text\", { env = \"NAME\" } or { file = \"path\" }");
        return None;
    }
    found.pop()
}
