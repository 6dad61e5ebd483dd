//! Tasks that must not go astray: a panic in one is a fault of ours, and is told and dealt with.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Awaits a task whose panic is not to spread; what it said is the error. What the task shares with others must hold
/// whenever it can panic: no lock of ours is kept over anything that can.
pub(super) async fn caught<T>(task: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|payload| words(&*payload))
}

/// What a panic says.
pub(super) fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_does_not_spread() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let faulty = |n: u32| async move { assert!(n == 0, "{n} is too many") };
        assert_eq!(caught(faulty(3)).await, Err("3 is too many".to_owned()));
        assert_eq!(caught(async { std::panic::panic_any(3) }).await, Err::<(), _>("a panic".to_owned()));
    }
}
