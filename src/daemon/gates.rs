//! Runs whose shims are started ahead of their instants and wait at their gates.
//!
//! **Invariant:** a gate is an offer and no promise. Whatever became of the shim that was to wait there, a run that is
//! to go is started, once: through the gate, or as any other run is. And a gate is opened by [`Executor::go`] alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, error, info};

use super::causes;
use super::executor::Executor;
use super::supervision::caught;
use crate::engine::event::Event;
use crate::engine::run::{Claim, RunId};
use crate::failpoint::{self, Failpoint};
use crate::process::{Gate, Shim};

/// Shims being brought to their gates at once: few, for there is time, and what is due now must not wait for them.
const ARMS_MAX: usize = 4;

/// The runs that wait for their instants.
#[derive(Debug)]
pub(super) struct Gates {
    turns: Semaphore,
    waiting: Mutex<BTreeMap<RunId, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    /// Where its shim waits, once it is on its way there.
    gate: Option<Arc<Gate>>,
    orders: oneshot::Sender<Order>,
}

/// What becomes of a run that waits.
#[derive(Debug)]
enum Order {
    /// It is started; its gate may have been opened already.
    Go { opened: bool },
    /// It is not.
    Disarm,
}

impl Gates {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(ARMS_MAX), waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RunId, Waiting>> {
        // Each use leaves the map whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor {
    /// Starts the shim of a run and lets it wait at its gate.
    pub(super) fn arm(&self, claim: Claim) {
        let (orders, ordered) = oneshot::channel();
        let waiting = Waiting { claim: claim.clone(), gate: None, orders };
        self.0.gates.waiting().insert(claim.run, waiting);
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(fault) = caught(this.attend_gate(&claim, ordered)).await {
                error!(run = %claim.run, job = %claim.job, "jobd failed to look after a gate: {fault}");
                this.attend_again(&claim, fault).await;
            }
        });
    }

    /// Starts a run that was armed, at once where its shim is there.
    pub(super) fn go(&self, run: RunId) {
        let Some(Waiting { claim, gate, orders }) = self.0.gates.waiting().remove(&run) else { return };
        let opened = gate.is_some_and(|gate| gate.open());
        Failpoint::AfterGo.pass();
        if orders.send(Order::Go { opened }).is_err() && !opened {
            self.launch(claim);
        }
    }

    /// Lets the shim of a run leave without a trace.
    pub(super) fn disarm(&self, run: RunId) {
        if let Some(waiting) = self.0.gates.waiting().remove(&run) {
            // Nobody is there to hear it only where nothing waits any more.
            let _ = waiting.orders.send(Order::Disarm);
        }
    }

    async fn attend_gate(&self, claim: &Claim, mut ordered: oneshot::Receiver<Order>) {
        let (mut shim, gate) = self.bring_to_gate(claim, &mut ordered).await.unzip();
        let order = match &gate {
            Some(gate) => stay(gate, &mut ordered).await,
            None => None,
        };
        let (order, is_left) = match order {
            Some(order) => (order, false),
            None => (ordered.await.unwrap_or(Order::Disarm), true),
        };
        let opened = match order {
            Order::Go { opened } => opened || (!is_left && gate.as_ref().is_some_and(|gate| gate.open())),
            Order::Disarm => false,
        };
        drop(gate);
        if opened {
            self.tell_started(claim);
            return self.attend(claim, shim).await;
        }
        if let Some(shim) = &mut shim {
            // It holds the lock until then.
            shim.ended().await;
        }
        match order {
            Order::Go { .. } => {
                self.keep_folder(claim).await;
                self.launch_and_attend(claim).await;
            }
            Order::Disarm => self.discard(claim),
        }
    }

    /// Starts the shim; `None` if it could not be started, or the order came first.
    async fn bring_to_gate(
        &self,
        claim: &Claim,
        ordered: &mut oneshot::Receiver<Order>,
    ) -> Option<(Shim, Arc<Gate>)> {
        failpoint::panic_at("arm", claim.job.as_str());
        let _turn = self.0.gates.turns.acquire().await;
        if !ordered.is_empty() {
            return None;
        }
        let spec = self.spec(claim)?;
        let armed = self.0.places.launcher.arm(&self.folder(claim), &spec).await;
        let (shim, gate) = armed
            .inspect_err(
                |problem| debug!(run = %claim.run, job = %claim.job, "not armed: {}", causes(problem)),
            )
            .ok()?;
        let gate = Arc::new(gate);
        if let Some(waiting) = self.0.gates.waiting().get_mut(&claim.run) {
            waiting.gate = Some(Arc::clone(&gate));
        }
        // Its turn lasts until it is there: more at once only keep each other from the processor.
        if gate.is_reached().await {
            debug!(run = %claim.run, job = %claim.job, "armed");
            Failpoint::AfterArm.pass();
        }
        Some((shim, gate))
    }

    /// Leaves a sign of a run that is started as any other, though its row is only on its way.
    async fn keep_folder(&self, claim: &Claim) {
        let folder = self.folder(claim);
        let keep = move || folder.create().and_then(|()| folder.keep());
        // A disk that refuses this refuses the launch as well, which tells of it.
        if let Ok(Err(problem)) = tokio::task::spawn_blocking(keep).await {
            debug!(run = %claim.run, job = %claim.job, "{}", causes(&problem));
        }
    }

    fn discard(&self, claim: &Claim) {
        // What is left is removed by the next jobd.
        if let Err(problem) = self.folder(claim).discard() {
            debug!(run = %claim.run, "{}", causes(&problem));
        }
    }

    pub(super) fn tell_started(&self, claim: &Claim) {
        info!(run = %claim.run, job = %claim.job, trigger = %claim.trigger, "started");
        self.tell(Event::Launched { run: claim.run });
    }
}

/// Waits for the order; `None` if the shim leaves first.
async fn stay(gate: &Gate, ordered: &mut oneshot::Receiver<Order>) -> Option<Order> {
    tokio::select! {
        biased;
        order = ordered => Some(order.unwrap_or(Order::Disarm)),
        () = gate.left() => None,
    }
}
