//! How far a replica came, once nothing more reaches it.

use std::time::Duration;

use decision::lsn::Lsn;
use serde::Deserialize;
use tokio::time::Instant;

use super::observe::REPLICA_TIMELINE;
use super::{Sql, timed_out};
use crate::postgres::apply::Lasts;
use crate::postgres::config::{Desired, Role};
use crate::postgres::error::PostgresError;

/// What candidates are compared by: the timeline first, then what is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub timeline: u32,
    /// The end of the last whole record. What was received of one more counts for nothing.
    pub replayed: Lsn,
    pub received: Lsn,
}

#[derive(Deserialize)]
struct Reply {
    in_recovery: bool,
    timeline: Option<u32>,
    received: Option<Lsn>,
    replayed: Option<Lsn>,
    receiving: bool,
    /// The startup process has nothing to read.
    idle: bool,
}

/// Whether nothing that it has is left to be replayed. One that was started anew received nothing since, and does not say
/// how much lies there: only that it waits for more tells (S3).
fn is_all(replayed: Lsn, received: Option<Lsn>, is_idle: bool) -> bool {
    received.is_some_and(|received| received <= replayed) || is_idle
}

/// Two looks so far apart that find the same make the end of a log.
const APART: Duration = Duration::from_millis(10);

impl Sql {
    /// Makes a replica receive no more, for good: `desired` is written without its upstream. Then no
    /// primary, however alive, can have a commit acknowledged by it.
    pub async fn stop_receiving(&self, desired: &Desired, within: Duration) -> Result<(), PostgresError> {
        let until = Instant::now() + within;
        let alone = Desired { role: Role::Replica { upstream: None }, ..desired.clone() };
        self.apply_to(&alone, within, Lasts::WhileItRuns).await?;
        // It does not read its configuration while it waits for a peer that is gone.
        let doing = "stopping to receive";
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walreceiver'";
        loop {
            self.value(doing, end).await?;
            let soon = (Instant::now() + Duration::from_millis(100)).min(until);
            let gone = "not exists (select from pg_stat_activity where backend_type = 'walreceiver')
  and not exists (select from pg_stat_wal_receiver)";
            if self.wait_for(doing, gone, soon).await? {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(timed_out(doing, within));
            }
        }
    }

    /// Waits until all that was received is replayed. Call [`Sql::stop_receiving`] first.
    pub async fn final_position(&self, within: Duration) -> Result<Position, PostgresError> {
        let until = Instant::now() + within;
        let doing = "asking for the final position";
        // The newest timeline that has the last record's segment: where the receiver is gone, and
        // the control file lags behind, nothing else tells.
        let sql = format!(
            "select json_build_object('in_recovery', r, 'received', case when r then received end,
  'replayed', case when r then replayed end, 'receiving', exists (select from pg_stat_wal_receiver),
  'timeline', greatest({REPLICA_TIMELINE}, (select max(('x' || substr(name, 1, 8))::bit(32)::int)
     from pg_ls_waldir() where name ~ '^[0-9A-F]{{24}}$' and substr(name, 9) = segment)),
  'idle', exists (select from pg_stat_activity where backend_type = 'startup' and wait_event in
     ('RecoveryWalStream', 'RecoveryWalAll', 'RecoveryRetrieveRetryInterval')))::text
from (select r, received, replayed, (select lpad(upper(to_hex(((replayed - '0/1') / size / per)::bigint)), 8, '0')
     || lpad(upper(to_hex((div(replayed - '0/1', size) % per)::bigint)), 8, '0')) as segment
   from (select pg_is_in_recovery() as r, pg_last_wal_receive_lsn() as received,
     pg_last_wal_replay_lsn() as replayed, bytes as size, div(4294967296, bytes) as per
     from (select setting::numeric as bytes from pg_settings where name = 'wal_segment_size') as s offset 0)
   as positions) as all_of_it"
        );
        let mut before = None;
        loop {
            let reply: Reply = self.json(doing, &sql).await?;
            let (Some(timeline), Some(replayed), true) = (reply.timeline, reply.replayed, reply.in_recovery)
            else {
                return Err(PostgresError::State {
                    what: "it is not a replica".to_owned(),
                    remedy: "ask for its current position instead",
                });
            };
            if reply.receiving {
                return Err(PostgresError::State {
                    what: "it still receives".to_owned(),
                    remedy: "stop that first",
                });
            }
            let idle_at = reply.idle.then_some(replayed);
            if is_all(replayed, reply.received, idle_at.is_some() && idle_at == before) {
                let received = reply.received.unwrap_or(replayed).max(replayed);
                return Ok(Position { timeline, replayed, received });
            }
            before = idle_at;
            if Instant::now() >= until {
                return Err(timed_out(doing, within));
            }
            tokio::time::sleep(APART).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_was_started_anew_says_how_far_it_came_once_it_waits_for_more() {
        let at = |lsn| Some(Lsn(lsn));
        assert!(is_all(Lsn(100), at(100), false));
        assert!(!is_all(Lsn(100), at(101), false));
        assert!(is_all(Lsn(100), at(101), true), "the rest is no whole record");
        assert!(!is_all(Lsn(100), None, false), "it may have received more before");
        assert!(is_all(Lsn(100), None, true));
    }
}
