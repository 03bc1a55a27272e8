//! What is to be told of an instance, until it is committed. Reports are of a state, so that only
//! the newest matters; the end of a lease is told beside them.

use std::sync::Arc;
use std::time::Duration;

use decision::database::report::Release;
use decision::database::{InstanceReport, InstanceRole};
use decision::name::ServiceName;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use wire::failpoint;
use wire::lease::Told;

use super::controllers::Controllers;

const TELL_WITHIN: Duration = Duration::from_secs(3);
const TELL_AGAIN: Duration = Duration::from_millis(250);
const MOST_UNDER_WAY: usize = 8;

pub struct Teller {
    report: watch::Sender<Option<InstanceReport>>,
    release: watch::Sender<Option<Release>>,
}

impl Teller {
    pub fn new() -> Arc<Teller> {
        Arc::new(Teller { report: watch::Sender::new(None), release: watch::Sender::new(None) })
    }

    pub fn report(&self, report: InstanceReport) {
        self.report.send_if_modified(|before| {
            let changed = before.as_ref() != Some(&report);
            if changed {
                *before = Some(report);
            }
            changed
        });
    }

    pub fn release(&self, release: Release) {
        self.release.send_if_modified(|before| {
            let changed = before.as_ref().map(|before| before.epoch) != Some(release.epoch);
            if changed {
                *before = Some(release);
            }
            changed
        });
    }

    /// Tells whatever is new, for ever.
    pub async fn tell(self: Arc<Self>, service: ServiceName, controllers: Controllers) {
        let report = |report| Told::Instance { service: service.clone(), report: Box::new(report) };
        let release = |Release { epoch, clean, last_known, unwritten, why }| Told::Released {
            service: service.clone(),
            epoch,
            clean,
            last_known,
            unwritten,
            why,
        };
        tokio::join!(
            tell_newest(&controllers, self.report.subscribe(), report),
            tell_newest(&controllers, self.release.subscribe(), release),
        );
    }
}

/// What is under way is given up for what is newer.
async fn tell_newest<T: Clone>(
    controllers: &Controllers,
    mut newest: watch::Receiver<Option<T>>,
    told: impl Fn(T) -> Told,
) {
    let mut untold = None;
    loop {
        tokio::select! {
            biased;
            changed = newest.changed() => match changed {
                Ok(()) => untold = newest.borrow_and_update().clone().map(&told),
                Err(_) => return,
            },
            () = until_told(controllers, untold.as_ref()) => untold = None,
        }
    }
}

/// What tests end this process before and after.
fn deed(told: &Told) -> Option<&'static str> {
    match told {
        Told::Released { .. } => Some("tell-release"),
        Told::Instance { report, .. } => {
            matches!(report.role, InstanceRole::Primary { .. }).then_some("tell-primary")
        }
    }
}

/// Again and again beside what is not answered: a controller may have passed it on to a leader that is gone,
/// and wait for that. Told twice it changes nothing.
async fn until_told(controllers: &Controllers, told: Option<&Told>) {
    let Some(told) = told else { return std::future::pending().await };
    let deed = deed(told);
    deed.inspect(|deed| failpoint::before(deed));
    let mut under_way = FuturesUnordered::new();
    let mut again = tokio::time::interval(TELL_AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => if under_way.len() < MOST_UNDER_WAY {
                under_way.push(controllers.tell(told, TELL_WITHIN));
            },
            Some(answer) = under_way.next() => match answer {
                Ok(outcome) => {
                    deed.inspect(|deed| failpoint::after(deed));
                    if let Some(refusal) = outcome.refusal() {
                        tracing::warn!(%refusal, "the controllers refused what was told of the database");
                    }
                    return;
                }
                Err(why) => tracing::debug!(why, "the controllers could not be told of the database"),
            },
        }
    }
}
