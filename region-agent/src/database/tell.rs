//! What is to be told of an instance, until it is committed. Reports are of a state, so that only
//! the newest matters; the end of a lease is told beside them.

use std::sync::Arc;
use std::time::Duration;

use decision::database::{InstanceReport, Position};
use decision::name::ServiceName;
use decision::plan::Epoch;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wire::lease::Told;

use super::controllers::Controllers;

const TELL_WITHIN: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) epoch: Epoch,
    pub(super) clean: Option<Position>,
    pub(super) last_known: Option<Position>,
    pub(super) why: String,
}

pub(super) struct Teller {
    report: watch::Sender<Option<InstanceReport>>,
    release: watch::Sender<Option<Release>>,
}

impl Teller {
    pub(super) fn new() -> Arc<Teller> {
        Arc::new(Teller { report: watch::Sender::new(None), release: watch::Sender::new(None) })
    }

    pub(super) fn report(&self, report: InstanceReport) {
        self.report.send_if_modified(|before| {
            let changed = before.as_ref() != Some(&report);
            if changed {
                *before = Some(report);
            }
            changed
        });
    }

    pub(super) fn release(&self, release: Release) {
        self.release.send_if_modified(|before| {
            let changed = before.as_ref().map(|before| before.epoch) != Some(release.epoch);
            if changed {
                *before = Some(release);
            }
            changed
        });
    }

    /// Tells whatever is new, for ever.
    pub(super) async fn tell(self: Arc<Self>, service: ServiceName, controllers: Controllers) {
        let (mut reports, mut releases) = (self.report.subscribe(), self.release.subscribe());
        let of_reports = async {
            while reports.changed().await.is_ok() {
                loop {
                    let Some(report) = reports.borrow_and_update().clone() else { break };
                    let told = Told::Instance { service: service.clone(), report };
                    if is_told(&controllers, &told).await {
                        break;
                    }
                }
            }
        };
        let of_releases = async {
            while releases.changed().await.is_ok() {
                loop {
                    let Some(release) = releases.borrow_and_update().clone() else { break };
                    let Release { epoch, clean, last_known, why } = release;
                    let told = Told::Released { service: service.clone(), epoch, clean, last_known, why };
                    if is_told(&controllers, &told).await {
                        break;
                    }
                }
            }
        };
        tokio::join!(of_reports, of_releases);
    }
}

async fn is_told(controllers: &Controllers, told: &Told) -> bool {
    match controllers.tell(told, TELL_WITHIN).await {
        Ok(outcome) => {
            if let Some(refusal) = outcome.refusal() {
                tracing::warn!(%refusal, "the controllers refused what was told of the database");
            }
            true
        }
        Err(why) => {
            tracing::debug!(why, "the controllers could not be told of the database");
            tokio::time::sleep(RETRY).await;
            false
        }
    }
}
