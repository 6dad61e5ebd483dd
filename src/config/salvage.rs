//! What can be read of a configuration's alerts although the rest may be wrong: for the one message that has to get out
//! when jobd cannot.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;

use super::diagnostic::{Diagnostic, Severity};
use super::loader::Loader;
use super::{Channel, Language, LoadOptions, days, resolve, system_zone};
use crate::engine::job::ChannelName;

/// What there is of `[channels]`, `[defaults] alert`, `language` and `timezone`.
#[derive(Debug, Clone)]
pub struct Salvage {
    /// The zone of schedules that name none.
    pub timezone: TimeZone,
    /// The language of alerts.
    pub language: Language,
    /// The channels that the alerts of jobd itself go to. Where mistakes hide which, all of them.
    pub channels: BTreeMap<ChannelName, Channel>,
    /// The first mistake; `None` if a daemon would take the configuration.
    pub first_mistake: Option<Diagnostic>,
}

/// Reads what can be read. Files that a daemon would not trust are not read here either.
#[must_use]
pub fn salvage(path: &Path, options: &LoadOptions) -> Salvage {
    let mut loader = Loader::new(path, options);
    loader.read(path, None);
    resolve::check(&mut loader);
    days::check(&mut loader, options.now);
    let Loader { mut report, zone, language, defaults, channels, .. } = loader;
    let timezone = zone.unwrap_or_else(|| system_zone(&mut report));
    let (diagnostics, failed) = report.finish();
    let alert = resolve::default_alert(&defaults);
    let is_hidden = failed && defaults.alert.is_none();
    let channels = channels.into_iter().filter(|(name, _)| is_hidden || alert.contains(name));
    Salvage {
        timezone,
        language: language.unwrap_or_default(),
        channels: channels.filter_map(|(name, (channel, _))| Some((name, channel?))).collect(),
        first_mistake: diagnostics.into_iter().find(|found| found.severity == Severity::Error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: &str = "[channels.ops]\ntype = \"slack\"\nurl = \"http://127.0.0.1/key\"\n";
    const DEV: &str = "[channels.dev]\ntype = \"slack\"\nurl = \"http://127.0.0.1/key\"\n";

    fn read(text: &str) -> (Vec<String>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.toml");
        std::fs::write(&path, text).unwrap();
        let found = salvage(&path, &LoadOptions::validate());
        (found.channels.into_keys().collect(), found.first_mistake.map(|found| found.message))
    }

    #[test]
    fn a_good_configuration_says_who_is_told() {
        let told = |alert: &str| read(&format!("{OPS}{DEV}[defaults]\n{alert}\n"));
        assert_eq!(told("alert = [\"ops\"]"), (vec!["ops".to_owned()], None));
        assert_eq!(told("alert = []"), (vec![], None));
        assert_eq!(told(""), (vec![], None));
    }

    #[test]
    fn a_mistake_elsewhere_does_not_hide_it() {
        let (told, mistake) = read(&format!("tiemzone = \"UTC\"\n{OPS}{DEV}[defaults]\nalert = [\"dev\"]\n"));
        assert_eq!(told, ["dev"]);
        assert!(mistake.unwrap().contains("tiemzone"));
    }

    #[test]
    fn where_it_is_hidden_everybody_is_told() {
        let (told, mistake) = read(&format!("{OPS}{DEV}[defaults\nalert = [\"dev\"]\n"));
        assert_eq!(told, ["dev", "ops"]);
        assert!(mistake.is_some());
        let folder = tempfile::tempdir().unwrap();
        let missing = salvage(&folder.path().join("none.toml"), &LoadOptions::validate());
        assert!(missing.channels.is_empty() && missing.first_mistake.is_some());
    }
}
