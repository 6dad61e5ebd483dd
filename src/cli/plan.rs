//! `jobctl plan`: what a new configuration would change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;

use super::Session;
use super::args::ValidateArgs;
use super::changes::{self, JobChange, Peak};
use super::differences::{Difference, difference};
use super::error::{CliError, exit};
use super::load::Load;
use super::sources::{Loaded, Rejection};
use super::stretch::{Stretch, StretchArgs};
use super::{planned, validate};
use crate::api::client::Client;
use crate::engine::job::JobName;
use crate::engine::time::{Timestamp, describe_duration};

/// `--against running`: what the jobd that runs was started with.
const RUNNING: &str = "running";

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The new configuration
    file: PathBuf,
    /// Compare with this file, or with what the jobd that runs uses: 'running' [default: the configuration]
    #[arg(long, value_name = "FILE|running")]
    against: Option<PathBuf>,
    /// From when on fires are compared [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// For how many days
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// Exit with 1 if anything changes, as 'git diff --exit-code' does
    #[arg(long)]
    exit_code: bool,
}

/// What a new configuration would change: what `plan --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// Whether anything does.
    pub(crate) changes: bool,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// What holds for all jobs.
    pub(crate) settings: Vec<Difference>,
    /// The jobs that change, by name.
    pub(crate) jobs: BTreeMap<JobName, JobChange>,
    /// The minute in which most jobs start; `null` while no schedule changes, or where nothing starts.
    pub(crate) peak_before: Option<Peak>,
    pub(crate) peak_after: Option<Peak>,
}

pub(crate) async fn plan(session: &mut Session<'_>, args: PlanArgs) -> Result<u8, CliError> {
    let Ok(new) = session.sources.load(&args.file, false) else {
        return validate::validate(session, ValidateArgs { file: Some(args.file) });
    };
    for warning in &new.warnings {
        session.terminal.say(warning);
    }
    let old = installed(session, args.against.as_deref()).await?;
    session.terminal.use_zone(new.timezone.as_deref());
    let length = SignedDuration::from_hours(24 * i64::from(args.days));
    let stretch = StretchArgs { from: args.from, to: None };
    let stretch = stretch.read(&session.terminal.zone, session.terminal.now, length)?;
    let plan = Plan::between(&old, &new, &stretch, session);
    if session.json {
        session.terminal.print_json(&plan)?;
    } else {
        let text = planned::render(&session.terminal, &plan, args.days);
        session.terminal.print(&text)?;
    }
    Ok(if plan.changes && args.exit_code { exit::FAILED } else { exit::DONE })
}

/// The configuration to compare with. One that is not named and not there is empty: that of a host without jobd.
async fn installed(session: &mut Session<'_>, against: Option<&Path>) -> Result<Loaded, CliError> {
    let path = match against {
        Some(word) if word == Path::new(RUNNING) => {
            Client::connect(&session.places.socket).await?.status().await?.config
        }
        Some(path) => path.to_owned(),
        None => session.places.config.clone(),
    };
    if against.is_none() && !path.exists() {
        let path = path.display().to_string();
        session.terminal.say(&format!("there is no {} yet: all of it is new", super::text::inert(&path)));
        return Ok(Loaded::default());
    }
    session
        .sources
        .load(&path, session.terminal.colour)
        .map_err(|Rejection(report)| CliError::Rejected(report))
}

impl Plan {
    fn between(old: &Loaded, new: &Loaded, stretch: &Stretch, session: &Session<'_>) -> Self {
        let names: BTreeSet<&JobName> = old.specs.keys().chain(new.specs.keys()).collect();
        let mut budget = changes::FIRES_MAX;
        let change = |name: &&JobName| {
            let [before, after] = [old, new].map(|loaded| loaded.specs.get(*name).map(AsRef::as_ref));
            Some(((*name).clone(), JobChange::between(before, after, stretch, &mut budget)?))
        };
        let jobs: BTreeMap<JobName, JobChange> = names.iter().filter_map(change).collect();
        let mut settings = settings(old, new);
        if settings.is_empty() && jobs.is_empty() && old.hash != new.hash {
            settings.push(difference("channels, language or alerts of jobd itself", "as they were", "other"));
        }
        let zone = &session.terminal.zone;
        let count = |loaded: &Loaded| Load::count(loaded.specs.values().map(AsRef::as_ref), stretch, zone);
        let peak = |loaded: &Loaded| count(loaded).peak().map(Peak::of);
        let moves = jobs.values().any(JobChange::moves_fires);
        let (peak_before, peak_after) = if moves { (peak(old), peak(new)) } else { (None, None) };
        let changes = !settings.is_empty() || !jobs.is_empty();
        Self { changes, from: stretch.from, to: stretch.to, settings, jobs, peak_before, peak_after }
    }
}

/// What holds for all jobs and has changed.
fn settings(old: &Loaded, new: &Loaded) -> Vec<Difference> {
    let fields = |loaded: &Loaded| {
        let admission = &loaded.admission;
        let pools: Vec<String> =
            admission.pools.iter().map(|(pool, places)| format!("{pool}={places}")).collect();
        [
            ("timezone", loaded.timezone.clone().unwrap_or_else(|| "the system's".to_owned())),
            ("max_running", admission.max_running.to_string()),
            ("pools", if pools.is_empty() { "none".to_owned() } else { pools.join(" ") }),
            ("catch_up.rate", admission.rate.to_string()),
            ("catch_up.settle", describe_duration(admission.settle)),
        ]
    };
    let pairs = fields(old).into_iter().zip(fields(new));
    let changed = pairs.filter(|((_, old), (_, new))| old != new);
    changed.map(|((field, old), (_, new))| difference(field, old, new)).collect()
}
