//! What became of plans, by the journal.

use anyhow::Context;
use decision::event::Event;
use decision::journal::Entry;
use decision::plan::{Plan, PlanStatus};
use serde::Deserialize;

use super::cluster::Cluster;

/// What is used of `wire::api::JournalPage`.
#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    last_seq: u64,
}

impl Cluster {
    /// Its last entry's number.
    pub(super) fn journal_end(&self) -> anyhow::Result<u64> {
        Ok(self.journal_page(&["-n", "1"])?.last_seq)
    }

    /// Those that were opened after an entry, and how they ended. An error, too, if the journal's chain is broken.
    pub(super) fn plans_since(&self, mut seq: u64) -> anyhow::Result<Vec<(Plan, Option<PlanStatus>)>> {
        let mut plans = Vec::new();
        loop {
            let page = self.journal_page(&["-n", "1000", "--after", &seq.to_string()])?;
            let Some(last) = page.entries.last() else { return Ok(plans) };
            seq = last.seq;
            for entry in page.entries {
                match entry.event {
                    Event::PlanOpened { plan, .. } => plans.push((plan, None)),
                    Event::PlanEnded { plan, status } => {
                        let of = plans.iter_mut().find(|(known, _)| known.id == plan);
                        of.into_iter().for_each(|(_, ended)| *ended = Some(status.clone()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn journal_page(&self, args: &[&str]) -> anyhow::Result<Page> {
        let text = self.failover(&[&["journal", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).context("a page of the journal")
    }
}
