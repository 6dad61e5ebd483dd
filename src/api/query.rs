//! A [`RunQuery`] as the query part of an address, there and back.

use super::types::RunQuery;
use crate::engine::job::{JobName, JobNameError};
use crate::engine::run::{RunId, Status};

/// A part of a query that can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nobody knows this key.
    #[error("unknown parameter '{0}': it is one of job, status, since, until, before and limit")]
    UnknownKey(String),
    /// No job can have this name.
    #[error("job={0}: {1}")]
    Job(String, JobNameError),
    /// This is no status.
    #[error("status={0}: it is one of QUEUED RUNNING SUCCESS FAILED TIMEOUT KILLED MISSED SKIPPED LOST")]
    Status(String),
    /// This is no instant.
    #[error("{0}={1}: an instant is written 2026-11-01T10:00:00+09:00 (in an address, + is %2B)")]
    Instant(String, String),
    /// This is no number.
    #[error("{0}={1}: a whole number is needed")]
    Number(String, String),
}

/// The query's parts as keys and values; `status` holds several, separated by commas.
#[must_use]
pub fn to_pairs(query: &RunQuery) -> Vec<(&'static str, String)> {
    let statuses: Vec<&str> = query.status.iter().map(|status| status.as_str()).collect();
    let parts = [
        ("job", query.job.as_ref().map(ToString::to_string)),
        ("status", (!statuses.is_empty()).then(|| statuses.join(","))),
        ("since", query.since.map(|at| at.to_string())),
        ("until", query.until.map(|at| at.to_string())),
        ("before", query.before.map(|run| run.to_string())),
        ("limit", query.limit.map(|rows| rows.to_string())),
    ];
    parts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The query that keys and values say.
///
/// # Errors
/// At the first key nobody knows and the first value that can't be read.
pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<RunQuery, QueryError> {
    let mut query = RunQuery::default();
    for (key, value) in pairs {
        match key.as_str() {
            "job" => query.job = Some(JobName::new(&value).map_err(|why| QueryError::Job(value, why))?),
            "status" => query.status = statuses(&value)?,
            "since" => query.since = Some(parse(&value, || QueryError::Instant(key, value.clone()))?),
            "until" => query.until = Some(parse(&value, || QueryError::Instant(key, value.clone()))?),
            "before" => query.before = Some(RunId(parse(&value, || QueryError::Number(key, value.clone()))?)),
            "limit" => query.limit = Some(parse(&value, || QueryError::Number(key, value.clone()))?),
            _ => return Err(QueryError::UnknownKey(key)),
        }
    }
    Ok(query)
}

fn statuses(words: &str) -> Result<Vec<Status>, QueryError> {
    let status = |word| Status::parse(word).ok_or_else(|| QueryError::Status(word.to_owned()));
    words.split(',').filter(|word| !word.is_empty()).map(status).collect()
}

fn parse<T: std::str::FromStr>(value: &str, error: impl FnOnce() -> QueryError) -> Result<T, QueryError> {
    value.parse().map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(pairs: Vec<(&'static str, String)>) -> Vec<(String, String)> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    #[test]
    fn a_query_comes_back_as_it_went() {
        let query = RunQuery {
            job: Some(JobName::new("backup").unwrap()),
            status: vec![Status::Failed, Status::Timeout],
            since: Some("2026-11-01T10:00:00.5+09:00".parse().unwrap()),
            until: Some("2026-11-02T00:00:00Z".parse().unwrap()),
            before: Some(RunId(7)),
            limit: Some(50),
        };
        assert_eq!(from_pairs(owned(to_pairs(&query))), Ok(query));
        assert_eq!(from_pairs(owned(to_pairs(&RunQuery::default()))), Ok(RunQuery::default()));
    }

    #[test]
    fn each_mistake_is_named() {
        let error = |key: &str, value: &str| {
            from_pairs(vec![(key.to_owned(), value.to_owned())]).unwrap_err().to_string()
        };
        assert!(error("jbo", "x").starts_with("unknown parameter 'jbo'"));
        assert!(error("job", "X y").starts_with("job=X y: a job name is"));
        assert!(error("status", "FAILED,BAD").starts_with("status=BAD: it is one of"));
        assert!(error("since", "yesterday").starts_with("since=yesterday: an instant"));
        assert_eq!(error("limit", "-1"), "limit=-1: a whole number is needed");
    }
}
