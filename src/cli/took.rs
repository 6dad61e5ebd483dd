//! How long the runs of a rehearsal take: what a person says, else what the history says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::instant;
use super::offline::no_such_job;
use super::usual::History;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::words::causes;

/// Where a duration is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KnownFrom {
    /// `--took`.
    Option,
    /// The 95th percentile of its last successes.
    History,
    /// It is not known, and taken as no time at all.
    Nothing,
}

/// How long a run of each job takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Took(BTreeMap<JobName, (Duration, KnownFrom)>);

impl Took {
    /// What `--took` says of these jobs, and the history of those it says nothing of, if they fire at all. A history
    /// that can't be read is told and is no error.
    pub(crate) async fn read(
        session: &mut Session<'_>,
        given: &[String],
        specs: &BTreeMap<JobName, Arc<JobSpec>>,
        fires: impl Fn(&JobSpec) -> bool,
    ) -> Result<Self, CliError> {
        let (mut known, of_all) = options(given, specs)?;
        let missing = specs.values().filter(|spec| fires(spec)).map(|spec| &spec.name);
        let missing: Vec<&JobName> = missing.filter(|name| !known.contains_key(*name)).collect();
        if let Some(took) = of_all {
            known.extend(missing.into_iter().map(|name| (name.clone(), (took, KnownFrom::Option))));
        } else if !missing.is_empty() {
            let remembered = remembered(session, &missing).await;
            if let Err(error) = remembered.map(|remembered| known.extend(remembered)) {
                let why = super::text::inert(&causes(&error)).into_owned();
                session.terminal.say(&format!("no history: {why}"));
            }
        }
        Ok(Self(known))
    }

    /// How long a run of the job takes, and how that is known.
    pub(crate) fn of(&self, job: &JobName) -> (Duration, KnownFrom) {
        self.0.get(job).copied().unwrap_or((Duration::ZERO, KnownFrom::Nothing))
    }
}

/// What the options say of single jobs, and of all others.
type Given = (BTreeMap<JobName, (Duration, KnownFrom)>, Option<Duration>);

fn options(given: &[String], specs: &BTreeMap<JobName, Arc<JobSpec>>) -> Result<Given, CliError> {
    let (mut known, mut of_all) = (BTreeMap::new(), None);
    for option in given {
        let (job, length) =
            option.split_once('=').map_or((None, option.as_str()), |(job, length)| (Some(job), length));
        let took = instant::span(length).and_then(|length| Duration::try_from(length).ok());
        let took = took.ok_or_else(|| CliError::Took {
            given: super::text::inert(option).into_owned(),
            why: format!("'{}' is no length of time", super::text::inert(length)),
        })?;
        let Some(job) = job else {
            of_all = Some(took);
            continue;
        };
        let Some((name, _)) = specs.get_key_value(job) else {
            return Err(no_such_job(job, &specs.keys().cloned().collect::<Vec<_>>()));
        };
        known.insert(name.clone(), (took, KnownFrom::Option));
    }
    Ok((known, of_all))
}

async fn remembered(
    session: &mut Session<'_>,
    jobs: &[&JobName],
) -> Result<Vec<(JobName, (Duration, KnownFrom))>, CliError> {
    let history = History::open(session).await?;
    let mut known = Vec::new();
    for &job in jobs {
        if let Some(took) = history.usual(job).await?.percentile(95) {
            known.push((job.clone(), (Duration::from_millis(took), KnownFrom::History)));
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;

    fn given(options_given: &[&str]) -> Result<Given, CliError> {
        let specs =
            ["backup", "stats"].map(|name| (JobName::new(name).unwrap(), Arc::new(spec(name, "@daily"))));
        let owned: Vec<String> = options_given.iter().map(|&text| text.to_owned()).collect();
        options(&owned, &specs.into())
    }

    #[test]
    fn a_length_is_of_one_job_or_of_all_others() {
        let (known, of_all) = given(&["backup=5m", "1h"]).unwrap();
        let backup = JobName::new("backup").unwrap();
        assert_eq!(known, [(backup, (Duration::from_mins(5), KnownFrom::Option))].into());
        assert_eq!(of_all, Some(Duration::from_hours(1)));
    }

    #[test]
    fn what_is_no_job_and_no_length_is_refused() {
        let error = given(&["bakcup=5m"]).unwrap_err();
        assert_eq!((error.code(), error.help().as_deref()), (4, Some("did you mean 'backup'?")));
        for wrong in ["backup=", "backup=5", "", "soon"] {
            let error = given(&[wrong]).unwrap_err();
            assert_eq!(error.code(), 2, "{wrong}: {error}");
        }
    }
}
