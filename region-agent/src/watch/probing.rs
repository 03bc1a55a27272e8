//! One probe as a task.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use decision::config::Check;
use futures::FutureExt;
use tokio::time::Instant;

use crate::probe::Prober;

/// A timeout that is noticed later than this was the vantage's own fault.
const LATE_AT_LEAST: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Looked {
    pub(super) index: u32,
    pub(super) sequence: u32,
    pub(super) began: Instant,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    /// Never empty.
    Failed(String),
    /// The vantage did not run when it should have, by this much: says nothing of the target.
    Late(Duration),
}

pub(super) async fn look(
    prober: Arc<Prober>,
    check: Arc<Check>,
    index: u32,
    sequence: u32,
    began: Instant,
    timeout: Duration,
) -> Looked {
    // A fault of our own must not take the place of this probe at the gate for ever.
    let result = AssertUnwindSafe(prober.probe(&check, timeout)).catch_unwind().await;
    let took = began.elapsed();
    let verdict = match result {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(_)) if took > timeout + (timeout / 2).max(LATE_AT_LEAST) => Verdict::Late(took - timeout),
        Ok(Err(reason)) if reason.is_empty() => Verdict::Failed("failed without a reason".to_owned()),
        Ok(Err(reason)) => Verdict::Failed(reason),
        Err(_) => {
            tracing::error!(check = %check.id, "a probe panicked; this is a fault of the agent");
            Verdict::Late(Duration::ZERO)
        }
    };
    Looked { index, sequence, began, verdict }
}
