//! What the controllers must hear besides evidence: results of steps, until each is acknowledged,
//! and refusals, once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use decision::plan::{PlanId, StepId};
use tokio::sync::Notify;
use wire::agent::StepReport;

/// Which attempt at which step.
pub type Attempt = (PlanId, StepId, u32);

pub fn attempt(report: &StepReport) -> Attempt {
    (report.plan, report.step, report.attempt)
}

/// Further refusals push out the oldest: the newest say most.
const MOST_REFUSALS: usize = 64;
/// More steps than ever run at once; beyond it the oldest is given up, and its attempt times out.
const MOST_REPORTS: usize = 1_024;

#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    reports: BTreeMap<Attempt, (StepReport, bool)>,
    refusals: VecDeque<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing {
    Report(StepReport),
    Refusal { what: String, why: String },
}

impl Outbox {
    pub fn report(&self, report: StepReport) {
        let mut inner = self.inner();
        inner.reports.insert(attempt(&report), (report, true));
        if inner.reports.len() > MOST_REPORTS {
            inner.reports.pop_first();
        }
        drop(inner);
        self.changed.notify_one();
    }

    pub fn refuse(&self, what: impl Into<String>, why: impl Into<String>) {
        let refusal = (what.into(), why.into());
        let mut inner = self.inner();
        if inner.refusals.contains(&refusal) {
            return;
        }
        if inner.refusals.len() == MOST_REFUSALS {
            inner.refusals.pop_front();
        }
        inner.refusals.push_back(refusal);
        drop(inner);
        self.changed.notify_one();
    }

    pub fn acknowledged(&self, attempt: Attempt) {
        self.inner().reports.remove(&attempt);
    }

    /// Every report that was not acknowledged is to be sent again.
    pub fn resend(&self) {
        self.inner().reports.values_mut().for_each(|(_, is_due)| *is_due = true);
        self.changed.notify_one();
    }

    /// The next to send.
    pub fn take(&self) -> Option<Outgoing> {
        let mut inner = self.inner();
        if let Some((report, is_due)) = inner.reports.values_mut().find(|(_, is_due)| *is_due) {
            *is_due = false;
            return Some(Outgoing::Report(report.clone()));
        }
        inner.refusals.pop_front().map(|(what, why)| Outgoing::Refusal { what, why })
    }

    pub fn has_some(&self) -> bool {
        let inner = self.inner();
        !inner.refusals.is_empty() || inner.reports.values().any(|(_, is_due)| *is_due)
    }

    /// Cancellation-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use decision::plan::{Epoch, StepResult};

    use super::*;

    fn report(step: u16) -> StepReport {
        StepReport {
            plan: PlanId(1),
            step: StepId(step),
            attempt: 1,
            epoch: Epoch(1),
            result: StepResult::Done { note: String::new() },
        }
    }

    #[test]
    fn a_report_goes_out_again_until_it_is_acknowledged() {
        let outbox = Outbox::default();
        outbox.report(report(1));
        outbox.report(report(2));
        assert_eq!(outbox.take(), Some(Outgoing::Report(report(1))));
        assert_eq!(outbox.take(), Some(Outgoing::Report(report(2))));
        assert_eq!(outbox.take(), None);
        outbox.acknowledged(attempt(&report(1)));
        outbox.resend();
        assert_eq!(outbox.take(), Some(Outgoing::Report(report(2))));
        assert!(!outbox.has_some());
    }

    #[test]
    fn refusals_go_out_once_and_are_bounded() {
        let outbox = Outbox::default();
        for n in 0..2 * MOST_REFUSALS {
            outbox.refuse(format!("goal {n}"), "older");
            outbox.refuse(format!("goal {n}"), "older");
        }
        let first = Outgoing::Refusal { what: format!("goal {MOST_REFUSALS}"), why: "older".into() };
        assert_eq!(outbox.take(), Some(first));
        assert_eq!(std::iter::from_fn(|| outbox.take()).count(), MOST_REFUSALS - 1);
    }
}
