//! After a start: what became of the runs that a former jobd left behind.

use std::collections::BTreeMap;
use std::path::Path;

use crate::clock;
use crate::engine::ledger::OpenClaim;
use crate::engine::recovery::Proof;
use crate::engine::run::{Claim, RunId};
use crate::process::{self, Finding};
use crate::run::{RunError, RunFolder};

/// Looks at the folder of every claim that is not settled and not waiting for its turn.
///
/// # Errors
/// When a folder cannot be read, or a newer jobd wrote it: then it is not known whether the run is alive, and to go on
/// might start it twice.
pub(super) async fn gather(
    state_dir: &Path,
    open: &[OpenClaim],
    boot_id: &str,
) -> Result<BTreeMap<RunId, Proof>, RunError> {
    let mut proofs = BTreeMap::new();
    for OpenClaim { claim, .. } in open.iter().filter(|open| !open.queued) {
        proofs.insert(claim.run, look(state_dir, claim, boot_id).await?);
    }
    Ok(proofs)
}

async fn look(state_dir: &Path, claim: &Claim, boot_id: &str) -> Result<Proof, RunError> {
    let folder = RunFolder::new(state_dir, claim.claimed_at, claim.run);
    Ok(match process::inspect(&folder, boot_id)? {
        Finding::Held { .. } => Proof::Held,
        Finding::Ended(report) => Proof::Ended(report),
        Finding::NeverStarted => Proof::NeverStarted,
        // Watching a run that is lost ends what is left of it, and returns at once.
        Finding::Lost { .. } => {
            Proof::Ended(Box::new(process::watch(&folder, None, || clock::now().wall).await?))
        }
    })
}

/// Whether a shim holds the run.
pub(super) fn is_held(proofs: &BTreeMap<RunId, Proof>, open: &OpenClaim) -> bool {
    proofs.get(&open.claim.run) == Some(&Proof::Held)
}
