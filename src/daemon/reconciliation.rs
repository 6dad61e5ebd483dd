//! After a start: what became of the runs that a former jobd left behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::clock;
use crate::engine::ledger::{ClaimState, OpenClaim};
use crate::engine::recovery::Proof;
use crate::engine::run::RunId;
use crate::process::{self, Finding};
use crate::run::{RunError, RunFolder};

/// How long a shim may take to leave its gate, or to get from there to its mark: a moment, and for one that still asks
/// who its user is as long as it may ask.
const GATE_LIMIT: Duration = Duration::from_secs(15);
const GATE_INTERVAL: Duration = Duration::from_millis(5);

/// Looks at the folder of every claim that is not settled and not waiting for its turn. `boot_before` is the boot in
/// which claims were last given, `boot_id` that of now.
///
/// # Errors
/// When a folder cannot be read, or a newer jobd wrote it: then it is not known whether the run is alive, and to go on
/// might start it twice.
pub(super) async fn gather(
    state_dir: &Path,
    open: &[OpenClaim],
    boot_before: Option<&str>,
    boot_id: &str,
) -> Result<BTreeMap<RunId, Proof>, RunError> {
    let is_rebooted = boot_before != Some(boot_id);
    let mut proofs = BTreeMap::new();
    for OpenClaim { claim, state, .. } in open.iter().filter(|open| open.state != ClaimState::Queued) {
        let folder = RunFolder::new(state_dir, claim.claimed_at, claim.run);
        let proof = match state {
            ClaimState::Ahead if is_rebooted => left_at_gate(&folder, boot_id).await?,
            ClaimState::Ahead => at_gate(&folder, boot_id).await?,
            _ => match look(&folder, boot_id).await? {
                // A power cut may take away every sign that a job was started.
                Proof::NeverStarted if is_rebooted => Proof::Unknown,
                proof => proof,
            },
        };
        proofs.insert(claim.run, proof);
    }
    Ok(proofs)
}

/// What became of a claim ahead of its instant. The gate was closed with the jobd before this one, or opened by it: so
/// its shim leaves in a moment, or has its mark in a moment.
async fn at_gate(folder: &RunFolder, boot_id: &str) -> Result<Proof, RunError> {
    let leaves = async {
        loop {
            match process::inspect(folder, boot_id)? {
                Finding::Held { mark: None } => sleep(GATE_INTERVAL).await,
                Finding::NeverStarted => {
                    // Its shim has done so, if it was not killed as well.
                    folder.discard()?;
                    return Ok(Some(Proof::NeverStarted));
                }
                Finding::Held { .. } | Finding::Ended(_) | Finding::Lost { .. } => return Ok(None),
            }
        }
    };
    // What does neither in time holds the run, and is watched as one that does.
    match timeout(GATE_LIMIT, leaves).await.unwrap_or(Ok(None))? {
        Some(proof) => Ok(proof),
        None => look(folder, boot_id).await,
    }
}

/// What became of one in another boot. Its folder outlasts a power cut, unlike the mark in it, and a shim that leaves
/// takes the folder with it: where it is, the gate may have been opened.
async fn left_at_gate(folder: &RunFolder, boot_id: &str) -> Result<Proof, RunError> {
    match process::inspect(folder, boot_id)? {
        Finding::NeverStarted if !folder.path().exists() => Ok(Proof::NeverStarted),
        Finding::NeverStarted | Finding::Lost { mark: None, .. } => Ok(Proof::Unknown),
        Finding::Held { .. } | Finding::Ended(_) | Finding::Lost { .. } => look(folder, boot_id).await,
    }
}

async fn look(folder: &RunFolder, boot_id: &str) -> Result<Proof, RunError> {
    Ok(match process::inspect(folder, boot_id)? {
        Finding::Held { .. } => Proof::Held,
        Finding::Ended(report) => Proof::Ended(report),
        Finding::NeverStarted => Proof::NeverStarted,
        // Watching a run that is lost ends what is left of it, and returns at once.
        Finding::Lost { .. } => {
            Proof::Ended(Box::new(process::watch(folder, None, || clock::now().wall).await?))
        }
    })
}

/// Whether a shim holds the run.
pub(super) fn is_held(proofs: &BTreeMap<RunId, Proof>, open: &OpenClaim) -> bool {
    proofs.get(&open.claim.run) == Some(&Proof::Held)
}
