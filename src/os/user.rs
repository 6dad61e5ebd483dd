//! Users and groups: resolved by name before a fork, since the name service is not safe after it; and in a thread of
//! their own, since it may wait for a server that does not answer.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use super::limits::is_shortage;

/// Whom a process runs as: numbers alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// All groups, the own one included: sorted, each once.
    pub groups: Vec<u32>,
}

/// A user as a job sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The home folder.
    pub home: PathBuf,
    /// Whom to become; `None` to stay who we are.
    pub identity: Option<Identity>,
}

/// Why a job cannot be given an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user database has no such name.
    #[error("{0}: there is no such user (ENOENT)")]
    NoSuchUser(String),
    /// The group database has no such name.
    #[error("{0}: there is no such group (ENOENT)")]
    NoSuchGroup(String),
    /// We may not become it.
    #[error("{0}: only a jobd that runs as root can run jobs as other users (EPERM)")]
    OtherUser(String),
    /// We may not change our groups.
    #[error("only a jobd that runs as root can give a job other groups (EPERM)")]
    OtherGroups,
    /// The name service has not answered within the limit. It may still hold a lock of the process, which must not
    /// fork any more.
    #[error("the name service did not answer in {} s", .0.as_secs())]
    Hung(Duration),
    /// A database cannot be read, or no thread be started.
    #[error("the name service cannot be asked: {}", super::describe(.0))]
    System(#[from] io::Error),
}

impl AccountError {
    /// Whether the host is short of something that may be there again in a moment.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::System(error) if error.raw_os_error().is_some_and(is_shortage))
    }
}

impl From<Errno> for AccountError {
    fn from(errno: Errno) -> Self {
        Self::System(errno.into())
    }
}

impl Account {
    /// Our own.
    ///
    /// # Errors
    /// When the user database cannot be read.
    pub fn own() -> Result<Self, AccountError> {
        let uid = geteuid();
        Ok(match User::from_uid(uid)? {
            Some(user) => Self { name: user.name, home: user.dir, identity: None },
            // A container may run under a number that has no entry.
            None => Self { name: uid.to_string(), home: PathBuf::from("/"), identity: None },
        })
    }

    /// The user of this name. Without root's rights there is only one to become: oneself.
    ///
    /// # Errors
    /// When there is no such user, or we may not become it.
    pub fn named(name: &str) -> Result<Self, AccountError> {
        let user = User::from_name(name)?.ok_or_else(|| AccountError::NoSuchUser(name.to_owned()))?;
        let own = geteuid();
        let identity = if own == Uid::from_raw(0) {
            let c_name = CString::new(name).map_err(|_| Errno::EINVAL)?;
            let groups = getgrouplist(&c_name, user.gid)?;
            Some(identity(user.uid, user.gid, groups))
        } else if own == user.uid {
            None
        } else {
            return Err(AccountError::OtherUser(name.to_owned()));
        };
        Ok(Self { name: user.name, home: user.dir, identity })
    }

    /// What a job asks for: a user, or our own, and groups in place of those that the user has.
    ///
    /// # Errors
    /// When a name is nobody's, or we may not become that.
    pub fn find(user: Option<&str>, groups: Option<&[String]>) -> Result<Self, AccountError> {
        let mut account = user.map_or_else(Self::own, Self::named)?;
        let Some(names) = groups else {
            return Ok(account);
        };
        if !geteuid().is_root() {
            return Err(AccountError::OtherGroups);
        }
        let (uid, gid) = match &account.identity {
            Some(identity) => (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid)),
            None => (geteuid(), getegid()),
        };
        let mut groups = vec![gid];
        for name in names {
            let group = Group::from_name(name)?.ok_or_else(|| AccountError::NoSuchGroup(name.clone()))?;
            groups.push(group.gid);
        }
        account.identity = Some(identity(uid, gid, groups));
        Ok(account)
    }
}

fn identity(uid: Uid, gid: Gid, groups: Vec<Gid>) -> Identity {
    let mut groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
    groups.sort_unstable();
    groups.dedup();
    Identity { uid: uid.as_raw(), gid: gid.as_raw(), groups }
}

/// Asks the name service in a thread of its own, and waits no longer than this for the answer. The thread is gone when
/// there is one.
///
/// # Errors
/// What `ask` answers; and [`AccountError::Hung`] when it does not.
pub fn ask_in_time<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
) -> Result<T, AccountError> {
    let (answer, answered) = sync_channel(1);
    let thread = thread::Builder::new().spawn(move || {
        // Nobody listens any more when the limit is over.
        let _ = answer.send(ask());
    })?;
    let result = match answered.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => return Err(AccountError::Hung(limit)),
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the look-up panicked").into()),
    };
    // A panic has been told already.
    let _ = thread.join();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_refused() {
        assert!(matches!(Account::named("no-such-user"), Err(AccountError::NoSuchUser(_))));
        let own = Account::own().unwrap();
        assert!(own.home.is_absolute());
        let other = Account::named("nobody");
        if geteuid().is_root() {
            let identity = other.unwrap().identity.unwrap();
            assert_ne!(identity.uid, 0);
            assert!(identity.groups.contains(&identity.gid));
        } else {
            assert!(matches!(other, Err(AccountError::OtherUser(_))));
        }
    }

    #[test]
    fn groups_take_the_place_of_those_the_user_has() {
        let groups = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            Account::find(Some(&Account::own().unwrap().name), Some(&names))
        };
        if !geteuid().is_root() {
            assert!(matches!(groups(&[]), Err(AccountError::OtherGroups)));
            return;
        }
        assert_eq!(groups(&[]).unwrap().identity.unwrap().groups, [0]);
        let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        assert_eq!(groups(&["daemon", "root", "daemon"]).unwrap().identity.unwrap().groups, [0, daemon]);
        let missing = groups(&["daemon", "no-such-group"]);
        assert!(matches!(missing, Err(AccountError::NoSuchGroup(name)) if name == "no-such-group"));
    }

    #[test]
    fn a_name_service_that_hangs_is_not_waited_for() {
        let (release, held) = sync_channel::<()>(0);
        let hung = ask_in_time(Duration::from_millis(20), move || {
            let _ = held.recv();
            Account::own()
        });
        assert!(matches!(hung, Err(AccountError::Hung(_))));
        drop(release);
        assert!(ask_in_time(Duration::from_mins(1), Account::own).is_ok());
        let panicked = ask_in_time(Duration::from_mins(1), || -> Result<(), _> { panic!("a defect") });
        assert!(matches!(panicked, Err(AccountError::System(_))));
        assert_eq!(
            AccountError::Hung(Duration::from_secs(10)).to_string(),
            "the name service did not answer in 10 s"
        );
    }
}
