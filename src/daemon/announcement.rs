//! `jobd --announce-failure UNIT`: tells people that jobd cannot be kept up. systemd runs it when it gives up.
//!
//! **Invariant:** it needs no running jobd, no store and no configuration without mistakes, and it ends within a
//! minute. It changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Places, absolute, causes, channels, check, host, log};
use crate::clock;
use crate::config::{self, LoadOptions, Salvage};
use crate::engine::time::{Monotonic, Timestamp};
use crate::forward::alerts::{ChannelSender, DaemonFailure, RetryAfter, SendError, TextError, Wording};

/// How long it is tried to tell people. A network that comes up late has come by then; and systemd ends us later.
const LIMIT: Duration = Duration::from_secs(55);
/// From one try to the next; doubles from the first to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long systemd may take to say what it knows.
const SYSTEMD_LIMIT: Duration = Duration::from_secs(5);

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// There is no channel that could be read.
    #[error("nobody can be told that {unit} has failed: {why}")]
    NoChannel {
        /// The unit.
        unit: String,
        /// What hides the channels.
        why: String,
    },
    /// None of the channels took the message.
    #[error("nobody could be told that {0} has failed; the log says why for each channel")]
    NotTold(String),
    /// The words of the message.
    #[error(transparent)]
    Words(#[from] TextError),
    /// The operating system.
    #[error("failed to start working")]
    Os(#[source] io::Error),
}

/// Sends one message to the channels of `[defaults] alert`, and returns when one of them at least has taken it. Where
/// a configuration without mistakes names none, nobody wants to know.
///
/// # Errors
/// When nobody could be told.
pub fn announce_failure(places: &Places, unit: &str) -> Result<(), AnnounceError> {
    log::start();
    let config = absolute(&places.config).map_err(|error| AnnounceError::Os(io::Error::other(error)))?;
    let found = config::salvage(&config, &LoadOptions::daemon(nix::unistd::geteuid().as_raw()));
    let mistake = found.first_mistake.as_ref().map(check::line);
    if found.channels.is_empty() {
        let Some(why) = mistake else {
            info!(unit, "nobody is told: [defaults] alert names no channel");
            return Ok(());
        };
        return Err(AnnounceError::NoChannel { unit: unit.to_owned(), why });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AnnounceError::Os)?.block_on(announce(unit, &found, mistake))
}

async fn announce(unit: &str, found: &Salvage, mistake: Option<String>) -> Result<(), AnnounceError> {
    let known = ask_systemd(unit).await;
    let failure = DaemonFailure {
        unit: unit.to_owned(),
        since: since(&known),
        result: result(&known),
        restarts: known.get("NRestarts").and_then(|count| count.parse().ok()),
        mistake,
    };
    let wording =
        Wording::new(channels::language(found.language), found.timezone.clone(), &host::default_name())?;
    let text = wording.daemon_failure(&failure)?;
    let senders = channels::senders(&found.channels);
    let told = join_all(senders.iter().map(|(name, sender)| tell(name, sender, &text))).await;
    if told.contains(&true) { Ok(()) } else { Err(AnnounceError::NotTold(unit.to_owned())) }
}

/// Tells one channel, if that can be done in time.
async fn tell(channel: &str, sender: &ChannelSender, text: &str) -> bool {
    let mut last = None;
    let told = timeout(LIMIT, until_taken(sender, text, &mut last)).await.unwrap_or(false);
    if told {
        info!(channel, "told");
    } else {
        let why = last.map_or_else(|| "no answer".to_owned(), |error| causes(&error));
        warn!(channel, "not told: {why}");
    }
    told
}

/// Tries until the channel takes the text; `false` when it never will.
async fn until_taken(sender: &ChannelSender, text: &str, last: &mut Option<SendError>) -> bool {
    let mut pause = PAUSE;
    loop {
        let Err(error) = sender.send(text).await else { return true };
        let wish = error.retry_after();
        let is_final = matches!(error, SendError::Degraded { .. });
        *last = Some(error);
        if is_final {
            return false;
        }
        sleep(wish.map_or(pause, |wish| pause.max(delay(wish)))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn delay(wish: RetryAfter) -> Duration {
    match wish {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::At(instant) => {
            Duration::try_from(instant.duration_since(clock::now().wall)).unwrap_or_default()
        }
    }
}

/// What systemd knows of a unit, by property; empty where it is not there or does not answer in time.
async fn ask_systemd(unit: &str) -> BTreeMap<String, String> {
    let properties = "--property=Result,ExecMainCode,ExecMainStatus,NRestarts,ActiveExitTimestampMonotonic";
    let mut command = Command::new("systemctl");
    command.args(["show", properties, "--", unit]).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(Ok(output)) = timeout(SYSTEMD_LIMIT, command.output()).await else { return BTreeMap::new() };
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// When the unit was last up, by systemd; else now.
fn since(known: &BTreeMap<String, String>) -> Timestamp {
    let now = clock::now();
    let left = known.get("ActiveExitTimestampMonotonic").and_then(|text| text.parse().ok()).unwrap_or(0);
    if left == 0 {
        return now.wall;
    }
    let ago = now.monotonic.since(Monotonic::new(Duration::from_micros(left)));
    now.wall.checked_sub(ago).unwrap_or(now.wall)
}

/// How the unit ended: `exit-code (exit code 2)`, `signal (signal 9)`, `watchdog (signal 6)`.
fn result(known: &BTreeMap<String, String>) -> Option<String> {
    let result = known.get("Result")?;
    let status = known.get("ExecMainStatus").map_or("unknown", String::as_str);
    // By wait(2): CLD_EXITED, CLD_KILLED, CLD_DUMPED.
    Some(match known.get("ExecMainCode").map(String::as_str) {
        Some("1") => format!("{result} (exit code {status})"),
        Some("2" | "3") => format!("{result} (signal {status})"),
        _ => result.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_systemd_says_is_put_in_words() {
        let said = |code, status| {
            result(&known(&[("Result", "exit-code"), ("ExecMainCode", code), ("ExecMainStatus", status)]))
        };
        assert_eq!(said("1", "2").as_deref(), Some("exit-code (exit code 2)"));
        assert_eq!(said("3", "6").as_deref(), Some("exit-code (signal 6)"));
        assert_eq!(said("0", "0").as_deref(), Some("exit-code"));
        assert_eq!(result(&known(&[])), None);
    }

    #[test]
    fn a_unit_that_was_never_up_failed_now() {
        let now = clock::now();
        let never = since(&known(&[("ActiveExitTimestampMonotonic", "0")]));
        assert!(never >= now.wall && since(&known(&[])) >= now.wall);
        let microseconds = now.monotonic.since_boot().as_micros() - 1_000_000;
        let left = since(&known(&[("ActiveExitTimestampMonotonic", &microseconds.to_string())]));
        assert!(left < now.wall, "{left} {}", now.wall);
    }
}
