//! The one message that is not of the outbox: jobd cannot be kept up, told by another process than jobd.

use minijinja::context;

use super::{TextError, Wording, quote};
use crate::engine::time::Timestamp;

/// The longest line from outside, in characters.
const LINE_CHARS_MAX: usize = 300;

/// What is known of a jobd that systemd has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonFailure {
    /// The unit: `jobd.service`.
    pub unit: String,
    /// Since when nothing is started.
    pub since: Timestamp,
    /// How it ended last, in systemd's words; none where systemd could not be asked.
    pub result: Option<String>,
    /// How often systemd has started it again; none where systemd could not be asked.
    pub restarts: Option<u64>,
    /// The first mistake of a configuration that is refused, in a line with its place.
    pub mistake: Option<String>,
}

impl Wording {
    /// The whole message about a jobd that cannot be kept up.
    ///
    /// # Errors
    /// When the template asks for a fact that there is not, which a test rules out.
    pub fn daemon_failure(&self, failure: &DaemonFailure) -> Result<String, TextError> {
        let line = |text: &String| quote::line(text, LINE_CHARS_MAX);
        self.render(
            "failure",
            &context! {
                unit => line(&failure.unit), since => self.time(failure.since), host => self.host(),
                result => failure.result.as_ref().map(line), restarts => failure.restarts,
                mistake => failure.mistake.as_ref().map(line),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::Language;
    use super::*;

    fn failure() -> DaemonFailure {
        DaemonFailure {
            unit: "jobd.service".to_owned(),
            since: "2026-11-01T01:00:00Z".parse().unwrap(),
            result: Some("exit-code (exit code 2)".to_owned()),
            restarts: Some(5),
            mistake: Some("/etc/jobd/jobs.toml:3:5: \"tiemout\" is not a key of a job".to_owned()),
        }
    }

    fn message(language: Language, failure: &DaemonFailure) -> String {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        Wording::new(language, zone, "erp-1").unwrap().daemon_failure(failure).unwrap()
    }

    #[test]
    fn it_says_what_is_wrong_and_what_to_do() {
        let ko = "\
❌ jobd가 실행되지 못하고 있습니다: 새 작업이 시작되지 않습니다
설정이 거부되었습니다: /etc/jobd/jobs.toml:3:5: \"tiemout\" is not a key of a job
시점: 2026-11-01 10:00:00
systemd: exit-code (exit code 2), 재시작 5회
이미 실행 중인 작업은 끝까지 진행됩니다.
호스트: erp-1
할 일: `jobctl validate`, `journalctl -u jobd.service -n 50`, 고친 뒤 `systemctl restart jobd.service`";
        assert_eq!(message(Language::Ko, &failure()), ko);
        let en = "\
❌ jobd cannot be kept up: no new runs start
The configuration is refused: /etc/jobd/jobs.toml:3:5: \"tiemout\" is not a key of a job
Since: 2026-11-01 10:00:00
systemd: exit-code (exit code 2), restarted 5 times
Runs under way go on to their end.
Host: erp-1
To do: `jobctl validate`, `journalctl -u jobd.service -n 50`, then `systemctl restart jobd.service`";
        assert_eq!(message(Language::En, &failure()), en);
    }

    #[test]
    fn it_needs_neither_systemd_nor_a_mistake() {
        let bare = DaemonFailure { result: None, restarts: None, mistake: None, ..failure() };
        for language in [Language::Ko, Language::En] {
            let text = message(language, &bare);
            assert!(text.contains("journalctl") && !text.contains("systemd:"), "{text}");
            assert!(!text.contains("\n\n"), "{text}");
        }
    }
}
