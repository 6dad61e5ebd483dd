//! Making way for a new configuration or a new program: jobd executes its program file anew, in the same process.
//!
//! **Invariant:** a configuration with a mistake, or a program that does not work, changes nothing: both are tried out
//! before anything is given up. To the runs a reload is a restart of jobd; they go on by their own specs.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, mpsc, watch};
use tracing::{info, warn};

use super::Leave;
use super::check::{self, Refused};
use super::program::Program;
use crate::api::supervisor::{Facts, Refusal};
use crate::api::types::State;
use crate::clock;
use crate::engine::time::Timestamp;

/// Takes requests to reload. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reloader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: Program,
    facts: watch::Sender<Arc<Facts>>,
    leave: mpsc::Sender<Leave>,
    /// One at a time. Holds what `jobctl status` says of the last one that was refused.
    turn: Mutex<Option<String>>,
}

impl Reloader {
    pub(super) fn new(
        program: Program,
        facts: watch::Sender<Arc<Facts>>,
        leave: mpsc::Sender<Leave>,
    ) -> Self {
        Self(Arc::new(Inner { program, facts, leave, turn: Mutex::new(None) }))
    }

    /// Tries out what would take over. If that works, jobd is to leave as soon as the answer has been passed on, by
    /// [`Reloader::leave`]; it holds when the jobd was started that makes way.
    pub(super) async fn prepare(&self, by: &str) -> Result<Timestamp, Refusal> {
        let Inner { program, facts, turn, .. } = &*self.0;
        let mut told = turn.lock().await;
        info!(%by, "a reload is asked for");
        let Err(refused) = check::ask(program).await else { return Ok(facts.borrow().started_at) };
        let (problem, refusal) = self.explain(refused);
        warn!("not reloaded, and nothing has changed: {problem}");
        facts.send_modify(|facts| {
            let problems = &mut Arc::make_mut(facts).problems;
            problems.retain(|known| Some(known) != told.as_ref());
            problems.push(problem.clone());
        });
        *told = Some(problem);
        Err(refusal)
    }

    fn explain(&self, refused: Refused) -> (String, Refusal) {
        let facts = Arc::clone(&self.0.facts.borrow());
        let at = clock::now().wall.to_zoned(facts.timezone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        match refused {
            Refused::Config { first, report } => {
                let config = facts.config.display();
                (
                    format!(
                        "the configuration of {config} was refused at {at}: {first}; \
                         jobd goes on with the one it has ('jobctl validate' tells all, 'jobctl reload' tries again)"
                    ),
                    Refusal::Rejected { report },
                )
            }
            Refused::Program(why) => {
                let program = self.0.program.file().display();
                let problem = format!("the program {program} was refused at {at}: {why}; install it anew");
                let refusal = Refusal::NotNow(format!("{program} cannot take over: {why}; install it anew"));
                (problem, refusal)
            }
        }
    }

    /// Lets jobd leave. Asked twice, it leaves once.
    pub(super) fn leave(&self) {
        let _ = self.0.leave.try_send(Leave::Reload);
    }

    /// Reloads whenever it is told to, but never before a start is over: however often SIGHUP comes, jobd gets to work
    /// in between.
    pub(super) async fn on_hangup(self, hangup: Arc<Notify>) {
        let mut facts = self.0.facts.subscribe();
        loop {
            hangup.notified().await;
            if facts.wait_for(|facts| facts.state == State::Ready).await.is_err() {
                return;
            }
            if self.prepare("SIGHUP").await.is_ok() {
                self.leave();
            }
        }
    }
}
