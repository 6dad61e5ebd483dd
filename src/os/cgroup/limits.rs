//! Limits of a group, each through a file that its controller brings.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::engine::resources::GroupLimits;

/// The stretch of time in which a group may use its share of CPU time, microseconds.
const CPU_PERIOD: u64 = 100_000;

/// A limit that a group does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The controller that it needs.
    pub controller: &'static str,
    /// What the kernel said; `None` if it has no such controller for us.
    pub why: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let controller = self.controller;
        match &self.why {
            None => write!(f, "the {controller} controller is not delegated to jobd here"),
            Some(why) => write!(f, "{controller}.max could not be set: {why}"),
        }
    }
}

/// Sets the limits of a group, and says which of them it does not have.
pub(super) fn set(group: Option<&Path>, limits: &GroupLimits) -> Vec<Missing> {
    let GroupLimits { memory, cpu_percent, pids, required: _ } = limits;
    let quota = cpu_percent.map(|percent| percent.saturating_mul(CPU_PERIOD / 100));
    let wanted = [
        ("memory", memory.map(|bytes| bytes.to_string())),
        ("cpu", quota.map(|quota| format!("{quota} {CPU_PERIOD}"))),
        ("pids", pids.map(|pids| pids.to_string())),
    ];
    let set_one = |(controller, value): (&'static str, Option<String>)| {
        let path = group.map(|group| group.join(format!("{controller}.max")));
        match write(path.as_deref(), &value?) {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Missing { controller, why: None }),
            Err(error) => Some(Missing { controller, why: Some(crate::os::describe(&error)) }),
        }
    };
    wanted.into_iter().filter_map(set_one).collect()
}

/// The file is the kernel's: it is there with its controller, and is never made.
fn write(path: Option<&Path>, value: &str) -> io::Result<()> {
    let path = path.ok_or(io::ErrorKind::NotFound)?;
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_limit_is_written_where_its_controller_is_and_missing_elsewhere() {
        let group = tempfile::tempdir().unwrap();
        let limits =
            GroupLimits { memory: Some(1 << 29), cpu_percent: Some(150), pids: Some(9), required: true };
        fs::write(group.path().join("memory.max"), "").unwrap();
        fs::write(group.path().join("cpu.max"), "").unwrap();
        let missing = set(Some(group.path()), &limits);
        assert_eq!(missing, [Missing { controller: "pids", why: None }]);
        let written = |name| fs::read_to_string(group.path().join(name)).unwrap();
        assert_eq!(
            (written("memory.max").as_str(), written("cpu.max").as_str()),
            ("536870912", "150000 100000")
        );
        assert!(!group.path().join("pids.max").exists());
        let words: Vec<_> = set(None, &limits).iter().map(Missing::to_string).collect();
        assert_eq!(words.len(), 3);
        assert_eq!(words[0], "the memory controller is not delegated to jobd here");
        assert_eq!(set(None, &GroupLimits::default()), []);
    }

    #[test]
    fn what_the_kernel_refuses_is_told() {
        let group = tempfile::tempdir().unwrap();
        fs::create_dir(group.path().join("pids.max")).unwrap();
        let limits = GroupLimits { pids: Some(9), ..GroupLimits::default() };
        let missing = set(Some(group.path()), &limits);
        assert_eq!(missing[0].to_string(), "pids.max could not be set: Is a directory (EISDIR)");
    }
}
