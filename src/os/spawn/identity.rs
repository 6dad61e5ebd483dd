//! Becoming the job's user, for good.

use nix::libc;

use super::child::{Child, check};
use super::{SpawnFailure, Step};
use crate::os::user::Identity;

#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
impl Child<'_> {
    /// Groups, group, user, in this order: each needs the rights that the next one gives up. Then it is looked at
    /// from outside, since a call that failed to give up root would be the worst of all failures (CVE-2006-2607).
    pub(super) fn become_user(&mut self) -> Result<(), SpawnFailure> {
        let Some(identity) = self.plan.identity else {
            return Ok(());
        };
        let Identity { uid, gid, groups } = identity;
        let (uid, gid) = (*uid, *gid);
        // SAFETY: the list of groups has the length told with it; the others touch no memory.
        unsafe {
            check(Step::Setgroups, libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(Step::Setgid, libc::setresgid(gid, gid, gid))?;
            check(Step::Setuid, libc::setresuid(uid, uid, uid))?;
        }
        self.check_identity(identity)
    }

    fn check_identity(&mut self, wanted: &Identity) -> Result<(), SpawnFailure> {
        let (mut users, mut groups) = ([0; 3], [0; 3]);
        let ([ruid, euid, suid], [rgid, egid, sgid]) = (&mut users, &mut groups);
        let room = i32::try_from(self.groups.len()).unwrap_or_default();
        // SAFETY: the pointers are to locals, and the list of groups has the length told with it.
        let count = unsafe {
            check(Step::Setuid, libc::getresuid(ruid, euid, suid))?;
            check(Step::Setgid, libc::getresgid(rgid, egid, sgid))?;
            libc::getgroups(room, self.groups.as_mut_ptr())
        };
        // More groups than were set do not fit, and are an error here. Their order is the kernel's affair.
        let found = usize::try_from(count).ok().and_then(|count| self.groups.get_mut(..count));
        let is_same = found.is_some_and(|found| {
            found.sort_unstable();
            *found == *wanted.groups
        });
        if !is_same {
            return Err(SpawnFailure::new(Step::Setgroups, libc::EPERM));
        }
        if groups != [wanted.gid; 3] {
            return Err(SpawnFailure::new(Step::Setgid, libc::EPERM));
        }
        let is_root_again = || {
            // SAFETY: no memory is touched. It must fail.
            wanted.uid != 0 && unsafe { libc::setresuid(0, 0, 0) } == 0
        };
        if users != [wanted.uid; 3] || is_root_again() {
            return Err(SpawnFailure::new(Step::Setuid, libc::EPERM));
        }
        Ok(())
    }

    /// From here on no program file gives the job more rights than it has, whatever bits it bears.
    pub(super) fn give_up_new_privileges(&self) -> Result<(), SpawnFailure> {
        if !self.plan.no_new_privileges {
            return Ok(());
        }
        // SAFETY: no memory is touched.
        check(Step::NoNewPrivileges, unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
    }
}
