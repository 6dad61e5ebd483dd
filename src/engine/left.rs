//! Processes that live on although their run is over or was to be, in words.

use std::fmt;
use std::time::Duration;

use super::run::LeftProcess;
use super::time::describe_duration;

/// How many of them are named in a line.
const NAMED_MAX: usize = 10;

impl LeftProcess {
    /// What it is doing: `D in nfs_wait`, or its state alone where nobody may know more.
    #[must_use]
    pub fn doing(&self) -> String {
        match &self.sleeps_in {
            Some(place) => format!("{} in {place}", self.state),
            None => self.state.to_string(),
        }
    }
}

impl fmt::Display for LeftProcess {
    /// As a person would look for it: `4121 (python3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// That processes live on with their job's consent: `2 processes live on: 4121 (python3), 4122 (sh)`. `count` may be
/// more than are known by name.
#[must_use]
pub fn live_on(count: usize, left: &[LeftProcess]) -> String {
    let subject =
        if count == 1 { "1 process lives on".to_owned() } else { format!("{count} processes live on") };
    format!("{subject}: {}", list(count, left, ToString::to_string))
}

/// That processes live after SIGKILL: `process 4121 (python3) cannot be killed: D in nfs_wait`.
#[must_use]
pub fn cannot_be_killed(left: &[LeftProcess]) -> String {
    unkillable("cannot be killed", left)
}

/// The same of processes that are gone at last, after so long.
#[must_use]
pub fn could_not_be_killed(left: &[LeftProcess], lasted: Duration) -> String {
    // Nobody counts milliseconds here.
    let lasted = describe_duration(Duration::from_secs(lasted.as_secs().max(1)));
    unkillable(&format!("could not be killed for {lasted}"), left)
}

fn unkillable(verb: &str, left: &[LeftProcess]) -> String {
    if let [process] = left {
        return format!("process {process} {verb}: {}", process.doing());
    }
    let each = |process: &LeftProcess| format!("{process} {}", process.doing());
    format!("{} processes {verb}: {}", left.len(), list(left.len(), left, each))
}

fn list(count: usize, left: &[LeftProcess], each: impl Fn(&LeftProcess) -> String) -> String {
    let mut named: Vec<String> = left.iter().take(NAMED_MAX).map(each).collect();
    if count > named.len() {
        named.push(format!("{} more", count - named.len()));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pid: u32, place: Option<&str>) -> LeftProcess {
        LeftProcess { pid, name: "python3".into(), state: 'D', sleeps_in: place.map(str::to_owned) }
    }

    #[test]
    fn processes_are_named_with_what_they_do() {
        let (one, two) = (left(4121, Some("nfs_wait")), left(4122, None));
        assert_eq!(live_on(1, std::slice::from_ref(&one)), "1 process lives on: 4121 (python3)");
        let both = [one.clone(), two];
        assert_eq!(live_on(2, &both), "2 processes live on: 4121 (python3), 4122 (python3)");
        let one = std::slice::from_ref(&one);
        assert_eq!(cannot_be_killed(one), "process 4121 (python3) cannot be killed: D in nfs_wait");
        let lasted = Duration::from_millis(180_999);
        let told = "process 4121 (python3) could not be killed for 3m: D in nfs_wait";
        assert_eq!(could_not_be_killed(one, lasted), told);
        let told = "2 processes cannot be killed: 4121 (python3) D in nfs_wait, 4122 (python3) D";
        assert_eq!(cannot_be_killed(&both), told);
    }

    #[test]
    fn of_many_the_rest_is_counted() {
        let many: Vec<LeftProcess> = (1..=12).map(|pid| left(pid, None)).collect();
        let told = live_on(300, &many);
        assert!(told.starts_with("300 processes live on: 1 (python3), 2 ("), "{told}");
        assert!(told.ends_with(", 10 (python3), 290 more"), "{told}");
    }
}
