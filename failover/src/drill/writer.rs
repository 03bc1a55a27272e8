//! A client from outside: it writes one row after another, and keeps what was acknowledged, and when.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use decision::drill::report::Measured;
use decision::time::Time;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;
use wire::host::Clock;

use super::gap;

const EVERY: Duration = Duration::from_millis(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const READ_WITHIN: Duration = Duration::from_secs(30);
const TABLE: &str = "regent_drill";

pub(super) struct Writer {
    config: Config,
    /// Rows of other drills are not ours.
    run: String,
    clock: Arc<dyn Clock>,
    written: Mutex<Vec<Written>>,
}

#[derive(Clone, Debug)]
struct Written {
    id: i64,
    began: Time,
    ended: Time,
    outcome: Outcome,
    /// Of the server that acknowledged it.
    epoch: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    /// Sent, and nobody knows what became of it.
    Unknown,
    /// Never sent, or refused.
    Failed,
}

impl Writer {
    /// `dsn`: of libpq, with every instance in it.
    pub(super) fn new(dsn: &str, run: String, clock: Arc<dyn Clock>) -> Result<Arc<Writer>, String> {
        let mut config: Config = dsn.parse().map_err(|error| format!("the connection string: {error}"))?;
        config
            .connect_timeout(CONNECT_WITHIN)
            .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite)
            .application_name("regent drill");
        Ok(Arc::new(Writer { config, run, clock, written: Mutex::default() }))
    }

    /// Makes the table, and writes until `stop`.
    pub(super) async fn write(self: Arc<Self>, stop: CancellationToken) {
        let mut client: Option<Connection> = None;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut id = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            id += 1;
            let began = self.clock.now();
            let (outcome, epoch) = self.one(&mut client, id).await;
            if outcome != Outcome::Acknowledged {
                client = None;
            }
            let ended = self.clock.now();
            self.lock().push(Written { id, began, ended, outcome, epoch });
        }
    }

    async fn one(&self, client: &mut Option<Connection>, id: i64) -> (Outcome, Option<u64>) {
        if client.is_none() {
            *client = self.connect().await.ok();
        }
        let Some(Connection { client, .. }) = client else { return (Outcome::Failed, None) };
        let sql = format!(
            "insert into {TABLE} (run, id) values ('{}', {id}); select current_setting('regent.epoch', true)",
            self.run
        );
        match tokio::time::timeout(ANSWER_WITHIN, client.simple_query(&sql)).await {
            Ok(Ok(replies)) => (Outcome::Acknowledged, first(&replies).and_then(|text| text.parse().ok())),
            // What the server refused it did not keep.
            Ok(Err(error))
                if error.as_db_error().is_some_and(|error| !error.code().code().starts_with("57")) =>
            {
                (Outcome::Failed, None)
            }
            Ok(Err(_)) | Err(_) => (Outcome::Unknown, None),
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let connected = tokio::time::timeout(ANSWER_WITHIN, self.config.connect(NoTls)).await;
        let (client, connection) =
            connected.map_err(|_| "no answer in time".to_owned())?.map_err(|error| causes(&error))?;
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { client, task: task.abort_handle() })
    }

    /// Before anything is measured.
    pub(super) async fn prepare(&self) -> Result<(), String> {
        let Connection { client, .. } = &self.connect().await?;
        let sql = format!(
            "create table if not exists {TABLE} (run text not null, id bigint not null,
               at timestamptz not null default clock_timestamp(), primary key (run, id))"
        );
        client.simple_query(&sql).await.map(drop).map_err(|error| causes(&error))
    }

    /// What is there, of all that was acknowledged; then removes it.
    pub(super) async fn measure(&self, fault_at: Time) -> Result<Measured, String> {
        let kept = tokio::time::timeout(READ_WITHIN, self.kept()).await;
        let kept = kept.map_err(|_| "the rows could not be read in time".to_owned())??;
        Ok(measure(&self.lock(), &kept, fault_at))
    }

    async fn kept(&self) -> Result<BTreeSet<i64>, String> {
        let Connection { client, .. } = &self.connect().await?;
        let sql = format!("select id from {TABLE} where run = '{}'", self.run);
        let replies = client.simple_query(&sql).await.map_err(|error| causes(&error))?;
        let ids = replies.iter().filter_map(|reply| match reply {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        let kept = ids.collect();
        let sql = format!("delete from {TABLE} where run = '{}'", self.run);
        client.simple_query(&sql).await.map_err(|error| causes(&error))?;
        Ok(kept)
    }

    /// When the last row was acknowledged.
    pub(super) fn last_success(&self) -> Option<Time> {
        self.lock().iter().rev().find(|row| row.outcome == Outcome::Acknowledged).map(|row| row.ended)
    }

    /// When the first was after the longest time without.
    pub(super) fn first_success_after_gap(&self, fault_at: Time) -> Option<Time> {
        longest_gap(&self.lock(), fault_at).map(|(_, end)| end)
    }

    /// S1: two that were acknowledged in the wrong order of their epochs.
    pub(super) fn two_writers(&self) -> Option<String> {
        two_writers(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Connection {
    client: Client,
    task: tokio::task::AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn first(replies: &[SimpleQueryMessage]) -> Option<&str> {
    replies.iter().find_map(|reply| match reply {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

fn causes(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn measure(written: &[Written], kept: &BTreeSet<i64>, fault_at: Time) -> Measured {
    let of = |outcome: Outcome| written.iter().filter(move |row| row.outcome == outcome);
    let lost: Vec<&Written> = of(Outcome::Acknowledged).filter(|row| !kept.contains(&row.id)).collect();
    let lost_span = match (lost.first(), lost.last()) {
        (Some(first), Some(last)) => last.ended.since(first.began),
        _ => Duration::ZERO,
    };
    let before = |row: &&Written| row.ended < fault_at;
    Measured {
        longest_gap_ms: longest_gap(written, fault_at).map(|(gap, _)| gap.as_millis() as u64),
        acknowledged: of(Outcome::Acknowledged).count() as u64,
        unknown: of(Outcome::Unknown).count() as u64,
        lost: lost.len() as u64,
        lost_span_ms: lost_span.as_millis() as u64,
        baseline_writes: of(Outcome::Acknowledged).filter(before).count() as u64,
        baseline_failures: written
            .iter()
            .filter(before)
            .filter(|row| row.outcome != Outcome::Acknowledged)
            .count() as u64,
        requests: None,
    }
}

fn longest_gap(written: &[Written], fault_at: Time) -> Option<(Duration, Time)> {
    let acknowledged: Vec<Time> =
        written.iter().filter(|row| row.outcome == Outcome::Acknowledged).map(|row| row.ended).collect();
    gap::longest(&acknowledged, written.last()?.ended, fault_at)
}

fn two_writers(written: &[Written]) -> Option<String> {
    let mut newest: Option<(u64, Time)> = None;
    for row in written.iter().filter(|row| row.outcome == Outcome::Acknowledged) {
        let Some(epoch) = row.epoch else { continue };
        match newest {
            Some((other, since)) if epoch < other && row.began > since => {
                return Some(format!("a row was acknowledged at epoch {epoch} after one at epoch {other}"));
            }
            Some((other, _)) if epoch <= other => {}
            _ => newest = Some((epoch, row.ended)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One each 10 ms from 0, as given: `+` acknowledged, `?` unknown, `-` failed.
    fn rows(outcomes: &str) -> Vec<Written> {
        let outcome = |mark| match mark {
            '+' => Outcome::Acknowledged,
            '?' => Outcome::Unknown,
            _ => Outcome::Failed,
        };
        let row = |(n, mark): (usize, char)| {
            let began = Time(n as u64 * 10);
            Written { id: n as i64, began, ended: Time(began.0 + 5), outcome: outcome(mark), epoch: Some(1) }
        };
        outcomes.chars().enumerate().map(row).collect()
    }

    #[test]
    fn what_is_lost_was_acknowledged_and_is_not_there() {
        let rows = rows("++++?--++");
        let kept = BTreeSet::from([0, 1, 7, 8]);
        let measured = measure(&rows, &kept, Time(38));
        assert_eq!((measured.acknowledged, measured.unknown, measured.lost), (6, 1, 2));
        assert_eq!(measured.lost_span_ms, 15, "from the begin of the first to the end of the last");
        assert_eq!((measured.baseline_writes, measured.baseline_failures), (4, 0));
        assert_eq!(measured.longest_gap_ms, Some(40));
    }

    #[test]
    fn an_older_epoch_after_a_newer_one_is_two_writers() {
        let mut rows = rows("++++");
        rows[1].epoch = Some(2);
        rows[2].epoch = Some(2);
        assert!(two_writers(&rows).is_some_and(|why| why.contains("epoch 1 after one at epoch 2")));
        rows[3].epoch = Some(3);
        assert_eq!(two_writers(&rows), None);
        rows[3].epoch = None;
        assert_eq!(two_writers(&rows), None);
    }
}
