//! Fingerprints of entries: the same text of the same meaning gives the same one on every host and version.

use std::fmt::Write as _;
use std::path::Path;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::engine::job::JobSpec;

use super::{Channel, Config, Secret};

/// How many bytes of the digest a fingerprint keeps.
const BYTES: usize = 8;

/// A digest over fields, each with its length ahead, so that no two sequences of fields read the same.
struct Fingerprint(Sha256);

impl Fingerprint {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn field(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// 16 hexadecimal digits.
    fn finish(self) -> String {
        let digest = self.0.finalize();
        digest.iter().take(BYTES).fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The fingerprint of all that says which instants the job fires at.
pub(super) fn of_schedule(spec: &JobSpec) -> String {
    let mut print = Fingerprint::new();
    print.field("timezone", spec.zone.iana_name().unwrap_or("system"));
    for schedule in &spec.schedules {
        print.field("schedule", schedule.resolved());
    }
    // What a job does not use is left out: its fingerprint is what it was before there was such a thing.
    if let Some(rule) = &spec.calendar {
        print.field("calendar", &rule.calendar.hash);
        print.field("on_holiday", &format!("{:?} {}", rule.on_holiday, rule.weekends));
    }
    for blackout in &spec.blackouts {
        print.field("blackout", blackout.schedule.as_str());
        print.field("duration", &blackout.duration.as_millis().to_string());
    }
    for (name, bound) in [("from", spec.from), ("until", spec.until)] {
        if let Some(bound) = bound {
            print.field(name, &bound.to_string());
        }
    }
    print.finish()
}

/// The fingerprint of a calendar's days.
pub(super) fn of_days<'d>(days: impl Iterator<Item = &'d Date>) -> String {
    let mut print = Fingerprint::new();
    days.for_each(|day| print.field("day", &day.to_string()));
    print.finish()
}

/// The fingerprint of everything that an entry says, defaults included; that of its schedule is there already.
pub(super) fn of_job(spec: &JobSpec) -> String {
    // Taken apart by name, so that a new field is not forgotten here.
    let JobSpec {
        name,
        description,
        schedules: _,
        zone: _,
        command,
        timeout,
        stop,
        leftover,
        output_limit,
        jitter,
        calendar: _,
        blackouts: _,
        from: _,
        until: _,
        overlap,
        queue_limit,
        holds,
        busy,
        priority,
        retry,
        after,
        watch,
        auto_timeout,
        catch_up,
        catch_up_window,
        alert,
        cwd,
        env,
        env_file,
        stdin,
        user,
        groups,
        no_new_privileges,
        resources,
        umask,
        config_hash: _,
        schedule_hash,
    } = spec;
    let mut print = Fingerprint::new();
    print.field("name", name.as_str());
    print.field("description", &format!("{description:?}"));
    print.field("schedules", schedule_hash);
    print.field("command", &format!("{command:?}"));
    print.field("timeout", &format!("{:?}", timeout.map(|timeout| timeout.as_millis())));
    print.field("stop", &stop.to_string());
    print.field("leftover", &format!("{leftover:?}"));
    print.field("output", &format!("{output_limit:?} {stdin:?}"));
    print.field("groups", &format!("{groups:?} {no_new_privileges}"));
    print.field("resources", &format!("{resources:?}"));
    print.field("policies", &format!("{overlap:?} {catch_up:?}"));
    print.field("days", &format!("{jitter:?}"));
    print.field("order", &format!("{queue_limit} {holds:?} {busy:?} {priority} {retry:?} {after:?}"));
    print.field("watch", &format!("{watch:?} {auto_timeout:?}"));
    print.field("catch_up_window", &catch_up_window.as_millis().to_string());
    print.field("alert", &format!("{alert:?}"));
    print.field("cwd", &cwd.to_string_lossy());
    let env_file = env_file.as_deref().map(Path::to_string_lossy);
    print.field("env_file", env_file.as_deref().unwrap_or_default());
    for (name, value) in env {
        print.field(name, value);
    }
    print.field("user", &format!("{user:?} {umask:o}"));
    print.finish()
}

/// The fingerprint of a whole configuration; of secrets it knows where they come from, not what they are.
pub(super) fn of_config(config: &Config) -> String {
    let mut print = Fingerprint::new();
    print.field("timezone", config.timezone.iana_name().unwrap_or("system"));
    print.field("language", &format!("{:?}", config.language));
    print.field("alert", &format!("{:?}", config.default_alert));
    print.field("admission", &format!("{:?}", config.admission));
    for (name, Channel::Slack { url }) in &config.channels {
        let origin = match url {
            Secret::Text(_) => "text".to_owned(),
            Secret::Env(_) | Secret::File(_) => format!("{url:?}"),
        };
        print.field(name, &format!("slack {origin}"));
    }
    for (name, spec) in &config.jobs {
        print.field(name.as_str(), &spec.config_hash);
    }
    print.finish()
}
