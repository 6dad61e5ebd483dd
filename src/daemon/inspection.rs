//! What a live run's processes are doing, for whoever asked.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::causes;
use super::executor::Executor;
use crate::api::supervisor::Refusal;
use crate::clock;
use crate::engine::run::RunId;
use crate::process::{self, ExamineError};
use crate::run::{Evidence, find};

/// Runs being looked at at once: whoever may read may ask, and each look is a process.
pub(super) const INSPECTIONS_MAX: usize = 4;

/// How often a run is looked at until a process of it is there: it may have been started at this very moment.
const LOOKS: u32 = 10;
/// How soon it is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Executor {
    /// Looks at a run's processes and answers.
    pub(super) fn inspect(&self, run: RunId, reply: oneshot::Sender<Result<Box<Evidence>, Refusal>>) {
        let this = self.clone();
        tokio::spawn(async move {
            // Never closed, so there is always a permit to come.
            let _turn = this.0.inspections.acquire().await;
            // Whoever has hung up does not want to know.
            let _ = reply.send(this.examine(run).await.map(Box::new));
        });
    }

    async fn examine(&self, run: RunId) -> Result<Evidence, Refusal> {
        let places = &self.0.places;
        let Some(folder) = find(&places.state_dir, run) else {
            return Err(Refusal::NotNow(format!("run {run} has not been started yet")));
        };
        let look = || process::examine(&places.launcher, &folder, clock::now);
        let mut examined = look().await;
        for _ in 1..LOOKS {
            if !matches!(examined, Err(ExamineError::NoProcess)) {
                break;
            }
            sleep(LOOK_INTERVAL).await;
            examined = look().await;
        }
        examined.map_err(|problem| match problem {
            ExamineError::NotActive | ExamineError::NoProcess => {
                Refusal::NotNow(format!("run {run}: {problem}"))
            }
            _ => Refusal::Unavailable(causes(&problem)),
        })
    }
}
