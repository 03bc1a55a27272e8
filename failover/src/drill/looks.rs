//! What the controllers say, asked for where some of them may be cut off.

use std::time::Duration;

use decision::config::Config;
use decision::drill::report::Before;
use decision::drill::{Drill, DrillId, Wish};
use decision::journal::Entry;
use decision::name::ServiceName;
use wire::api::{ConfigDocument, JournalPage, Query, ServiceStatus, Status};

use crate::cli::Client;
use crate::cli::exit::Failure;

pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const JOURNAL_PAGE: u32 = 1_000;

pub(super) async fn status(client: &Client) -> Result<Status, Failure> {
    Ok(client.read_at_any(&Query::Status, ANSWER_WITHIN).await?.document)
}

pub(super) async fn config(client: &Client) -> Result<Config, Failure> {
    let document: ConfigDocument = client.read_at_any(&Query::Config, ANSWER_WITHIN).await?.document;
    document.config.ok_or_else(|| Failure::error("no configuration has been set yet"))
}

pub(super) async fn drills(client: &Client) -> Option<Vec<Drill>> {
    client.read_at_any(&Query::Drills, ANSWER_WITHIN).await.ok().map(|answer| answer.document)
}

pub(super) async fn next(client: &Client) -> Result<DrillId, Failure> {
    let drills: Vec<Drill> = client.read_at_any(&Query::Drills, ANSWER_WITHIN).await?.document;
    Ok(DrillId(drills.first().map_or(0, |newest| newest.id.0) + 1))
}

pub(super) async fn drill_now(client: &Client, id: DrillId) -> Option<Drill> {
    drills(client).await?.into_iter().find(|drill| drill.id == id)
}

pub(super) async fn last_report(client: &Client, wish: &Wish) -> Option<Before> {
    let is_alike = |drill: &Drill| drill.wish.scenario == wish.scenario && drill.wish.service == wish.service;
    let report = drills(client).await?.into_iter().filter(is_alike).find_map(|drill| drill.report)?;
    Some(Before {
        drill: report.drill,
        verdict: report.verdict,
        longest_gap_ms: report.measured.longest_gap_ms,
        lost: report.measured.lost,
    })
}

/// What the journal tells from some moment on.
pub(super) struct Journal {
    after: u64,
    pub(super) entries: Vec<Entry>,
}

impl Journal {
    pub(super) async fn from_now_on(client: &Client) -> Result<Journal, Failure> {
        let page: JournalPage =
            client.read_at_any(&Query::Journal { after: 0, limit: 1 }, ANSWER_WITHIN).await?.document;
        Ok(Journal { after: page.last_seq, entries: Vec::new() })
    }

    pub(super) async fn read_on(&mut self, client: &Client) -> Result<(), Failure> {
        loop {
            let query = Query::Journal { after: self.after, limit: JOURNAL_PAGE };
            let page: JournalPage = client.read_at_any(&query, ANSWER_WITHIN).await?.document;
            let Some(last) = page.entries.last() else { return Ok(()) };
            self.after = last.seq;
            self.entries.extend(page.entries);
            if self.after >= page.last_seq {
                return Ok(());
            }
        }
    }
}

pub(super) fn of<'a>(status: &'a Status, service: &ServiceName) -> Result<&'a ServiceStatus, Failure> {
    let found = status.services.iter().find(|known| known.name == *service);
    found
        .ok_or_else(|| Failure::error(format!("there is no service {service}; `failover status` names them")))
}
