//! How long the runs of a job take, by its last successes.

use super::Session;
use super::error::CliError;
use super::source::Source;
use crate::api::client::Client;
use crate::api::records::Records;
use crate::api::types::RunQuery;
use crate::engine::job::JobName;
use crate::engine::run::Status;

/// How many successes of a job are looked at, the newest ones.
const SUCCESSES_MAX: u32 = 200;

/// Where it is read.
pub(crate) enum History {
    Jobd(Client),
    Files(Box<dyn Records>),
}

impl History {
    /// jobd if it is there, else the state directory, and then says so.
    pub(crate) async fn open(session: &mut Session<'_>) -> Result<Self, CliError> {
        match Source::open_without_zone(session).await? {
            Source::Jobd(client) => Ok(Self::Jobd(client)),
            Source::Files(_) => Self::files(session).await,
        }
    }

    /// The state directory.
    pub(crate) async fn files(session: &Session<'_>) -> Result<Self, CliError> {
        Ok(Self::Files(session.sources.records(&session.places.state_dir).await?))
    }

    /// How long the last successes of a job took; of one that nobody knows there are none.
    pub(crate) async fn usual(&self, job: &JobName) -> Result<Usual, CliError> {
        let query = RunQuery {
            job: Some(job.clone()),
            status: vec![Status::Success],
            limit: Some(SUCCESSES_MAX),
            ..RunQuery::default()
        };
        let runs = match self {
            Self::Jobd(client) => match client.runs(&query).await {
                // A job that the jobd that runs does not know yet has not run.
                Err(error) if error.is_not_found() => Vec::new(),
                answer => answer?.runs,
            },
            Self::Files(records) => records.runs(&query).await?,
        };
        Ok(Usual::of(runs.into_iter().filter_map(|run| run.duration_ms)))
    }
}

/// The durations of a job's last successes, milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usual(Vec<u64>);

impl Usual {
    pub(crate) fn of(durations: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// How many there are.
    pub(crate) const fn runs(&self) -> usize {
        self.0.len()
    }

    /// The least of them that so many percent of them are not above (the nearest rank); none of none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<u64> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// The longest.
    pub(crate) fn longest(&self) -> Option<u64> {
        self.0.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_were_seen() {
        let usual = Usual::of((1..=200).rev());
        assert_eq!(
            (usual.percentile(50), usual.percentile(95), usual.longest()),
            (Some(100), Some(190), Some(200))
        );
        let one = Usual::of([7]);
        assert_eq!((one.percentile(1), one.percentile(50), one.percentile(95)), (Some(7), Some(7), Some(7)));
        let three = Usual::of([3, 1, 2]);
        assert_eq!((three.percentile(50), three.percentile(95), three.runs()), (Some(2), Some(3), 3));
        assert_eq!(Usual::of([]).percentile(95), None);
    }
}
