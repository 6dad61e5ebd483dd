//! Whom a job runs as: `user`, `groups`, `umask`.

use std::collections::BTreeMap;
use std::fs;

use nix::errno::Errno;
use nix::unistd::{Group, User};

use super::diagnostic::quoted;
use super::nearest::nearest;
use super::report::{Report, Spot};
use super::value::Value;

/// A user of this host, and one that jobd may become.
pub(super) fn user(report: &mut Report, value: &Value<'_>, uid: Option<u32>) -> Option<String> {
    let name = value.string(report, "user = \"academy\"")?;
    match User::from_name(name) {
        Ok(Some(user)) => {
            if let Some(uid) = uid.filter(|&uid| uid != 0 && uid != user.uid.as_raw()) {
                report
                    .error(value.spot(), format!("jobd runs as user {uid} and can't start a job as {name:?}"))
                    .help("run jobd as root, or leave `user` out");
            }
            return Some(name.to_owned());
        }
        Ok(None) => nobody(report, value, "user", name, "/etc/passwd"),
        Err(errno) => {
            unanswered(report, value, "user", name, errno);
            return Some(name.to_owned());
        }
    }
    None
}

/// Groups of this host, for a jobd that may give them to a job.
pub(super) fn groups(report: &mut Report, value: &Value<'_>, uid: Option<u32>) -> Option<Vec<String>> {
    let names = value.strings(report, "groups = [\"backup\"]")?;
    if let Some(uid) = uid.filter(|&uid| uid != 0) {
        report
            .error(value.spot(), format!("jobd runs as user {uid} and can't give a job other groups"))
            .help("run jobd as root, or leave `groups` out");
        return None;
    }
    let mut seen: BTreeMap<&str, Spot> = BTreeMap::new();
    for (name, value) in &names {
        if let Some(first) = seen.get(name) {
            let message = format!("group {} is given twice", quoted(name));
            report.error(value.spot(), message).help("leave it out").first(first.clone());
            continue;
        }
        seen.insert(name, value.spot());
        match Group::from_name(name) {
            Ok(Some(_)) => {}
            Ok(None) => nobody(report, value, "group", name, "/etc/group"),
            Err(errno) => unanswered(report, value, "group", name, errno),
        }
    }
    Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Says that a name is nobody's, and whose it may have been meant to be.
fn nobody(report: &mut Report, value: &Value<'_>, kind: &str, name: &str, file: &str) {
    let entries = fs::read_to_string(file).unwrap_or_default();
    let help = match nearest(name, entries.lines().filter_map(|line| line.split(':').next())) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write the name of a {kind} of this host"),
    };
    report.error(value.spot(), format!("there is no {kind} {} on this host", quoted(name))).help(help);
}

/// The name service may be back when the job is started.
fn unanswered(report: &mut Report, value: &Value<'_>, kind: &str, name: &str, errno: Errno) {
    report.warning(value.spot(), format!("{kind} {} can't be looked up: {}", quoted(name), errno.desc()));
}

pub(super) fn umask(report: &mut Report, value: &Value<'_>) -> Option<u32> {
    let text = value.string(report, "umask = \"022\"")?;
    let octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mask = u32::from_str_radix(text, 8).ok().filter(|&mask| octal && mask <= 0o777);
    if mask.is_none() {
        let message = format!("`umask` {} is not an octal number up to 777", quoted(text));
        report.error(value.spot(), message).help("for example: umask = \"022\"");
    }
    mask
}
