//! The start of a job: its control group with its limits, and more than one try where the host is short of something.

use std::thread::sleep;
use std::time::Duration;

use super::prepare::{Failure, Prepared};
use crate::clock;
use crate::engine::resources::GroupLimits;
use crate::engine::time::Now;
use crate::os::{self, Cgroup, Missing, Output, SpawnFailure, Step};
use crate::run::RunSpec;

/// How long to wait before each further try: no more than 10 s together, longer and longer, as whoever has taken the
/// last process or descriptor needs time to give it back.
const PAUSES_MS: [u64; 8] = [50, 100, 200, 400, 850, 1700, 2700, 4000];

/// A job that has been started.
pub(super) struct Begun {
    pub(super) started: Now,
    pub(super) pid: u32,
    pub(super) output: Output,
    /// The group that it is in.
    pub(super) cgroup: Option<Cgroup>,
    /// What one must know of it.
    pub(super) remarks: Vec<String>,
}

/// Tries again as long as the host is short of something.
pub(super) fn patiently<T, E>(
    is_shortage: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for pause in PAUSES_MS {
        match attempt() {
            Err(error) if is_shortage(&error) => sleep(Duration::from_millis(pause)),
            done => return done,
        }
    }
    attempt()
}

/// Makes the run's control group, if one can be made and is wanted. With it comes what of its limits is missing.
///
/// # Errors
/// When a limit is missing that the job is not to be started without.
pub(super) fn group(spec: &RunSpec, shim: u32) -> Result<(Option<Cgroup>, Vec<String>), Failure> {
    let limits = &spec.resources.group;
    let (cgroup, missing) = if spec.cgroup {
        Cgroup::create(spec.run.0, shim, limits)
    } else {
        let missing = |controller| Missing { controller, why: None };
        (None, limits.controllers().map(missing).collect())
    };
    let missing: Vec<_> = missing.into_iter().map(|one| (one.controller, one.to_string())).collect();
    let remarks = excuse(limits, &missing);
    if remarks.is_err() {
        cgroup.iter().for_each(Cgroup::remove);
    }
    Ok((cgroup, remarks?))
}

/// What the row says of limits that could not be set.
///
/// # Errors
/// When the job is not to be started without them.
fn excuse(limits: &GroupLimits, missing: &[(&str, String)]) -> Result<Vec<String>, Failure> {
    if limits.required && !missing.is_empty() {
        let mut reasons: Vec<_> = missing.iter().map(|(_, why)| why.as_str()).collect();
        reasons.dedup();
        let help = "run it with jobd-runs.service, or set required = false";
        return Err(Failure::new("limits", format!("{}; {help}", reasons.join(", "))));
    }
    Ok(missing.iter().map(|(name, why)| format!("{name} limit not applied: {why}")).collect())
}

/// Starts the job; without its control group if the kernel lets nobody into it.
///
/// # Errors
/// The step that failed. Nothing has run then, and the group is gone.
pub(super) fn start(
    spec: &RunSpec,
    prepared: &Prepared,
    cgroup: Option<Cgroup>,
    mut remarks: Vec<String>,
) -> Result<Begun, Failure> {
    let failure = match spawn(prepared, cgroup.as_ref()) {
        Ok((started, pid, output)) => return Ok(Begun { started, pid, output, cgroup, remarks }),
        Err(failure) => failure,
    };
    cgroup.iter().for_each(Cgroup::remove);
    if failure.step != Step::Cgroup {
        return Err(prepared.explain(failure));
    }
    let limits = &spec.resources.group;
    let why = format!("the job could not join its control group: {}", os::describe_errno(failure.errno));
    let missing: Vec<_> = limits.controllers().map(|name| (name, why.clone())).collect();
    remarks.extend(excuse(limits, &missing)?);
    let (started, pid, output) = spawn(prepared, None).map_err(|failure| prepared.explain(failure))?;
    Ok(Begun { started, pid, output, cgroup: None, remarks })
}

fn spawn(prepared: &Prepared, cgroup: Option<&Cgroup>) -> Result<(Now, u32, Output), SpawnFailure> {
    let attempt = || {
        let entrance = cgroup.map(Cgroup::entrance).transpose();
        let entrance = entrance.map_err(|error| SpawnFailure::of(Step::Cgroup, &error))?;
        let started = clock::now();
        let (pid, output) = os::spawn(&prepared.plan(entrance.as_ref()))?;
        Ok((started, pid, output))
    };
    patiently(|failure: &SpawnFailure| failure.is_shortage(), attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_waited_for_and_nothing_else_is() {
        let mut answers = vec![Ok("started"), Err("short"), Err("short")];
        assert_eq!(patiently(|error| *error == "short", || answers.pop().unwrap()), Ok("started"));
        let mut tries = 0;
        let refused: Result<(), _> = patiently(
            |error| *error == "short",
            || {
                tries += 1;
                Err("refused")
            },
        );
        assert_eq!((refused, tries), (Err("refused"), 1));
        assert_eq!(PAUSES_MS.iter().sum::<u64>(), 10_000);
        assert!(PAUSES_MS.is_sorted());
    }

    #[test]
    fn a_missing_limit_is_excused_only_where_it_may_be() {
        let missing = [("memory", "no controller".to_owned()), ("pids", "no controller".to_owned())];
        let mut limits = GroupLimits { memory: Some(1), pids: Some(1), ..GroupLimits::default() };
        let remarks = excuse(&limits, &missing).unwrap();
        assert_eq!(
            remarks,
            ["memory limit not applied: no controller", "pids limit not applied: no controller"]
        );
        limits.required = true;
        let failure = excuse(&limits, &missing).unwrap_err();
        assert_eq!(failure.step, "limits");
        let help = "run it with jobd-runs.service, or set required = false";
        assert_eq!(failure.error, format!("no controller; {help}"));
        assert_eq!(excuse(&limits, &[]), Ok(Vec::new()));
    }
}
