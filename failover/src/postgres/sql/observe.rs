//! What a running server says of itself, in one round trip.

use decision::lsn::Lsn;
use serde::Deserialize;

use super::Sql;
use crate::postgres::error::PostgresError;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Observed {
    #[serde(deserialize_with = "unsigned")]
    pub system_identifier: u64,
    pub in_recovery: bool,
    /// Of a primary, the one it writes; of a replica, the newest it received or replayed.
    pub timeline: u32,
    /// What a primary has on its disk.
    pub current: Option<Lsn>,
    /// What a replica has on its disk; none when it received nothing since it started.
    pub received: Option<Lsn>,
    pub replayed: Option<Lsn>,
    pub replay_paused: bool,
    /// By the primary's clock against ours: for people, not for decisions.
    pub replay_age_ms: Option<i64>,
    pub uptime_ms: i64,
    pub wal_receiver: Option<WalReceiver>,
    pub standbys: Vec<Standby>,
    pub slots: Vec<Slot>,
    pub synchronous_standby_names: String,
    /// Of the configuration in force.
    pub epoch: Option<u64>,
    /// Settings that wait for a restart.
    pub pending_restart: Vec<String>,
}

/// How a replica receives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WalReceiver {
    /// `streaming`, or what it does before and after.
    pub status: String,
    pub sender_host: Option<String>,
    pub sender_port: Option<u16>,
    pub slot: Option<String>,
    pub received_timeline: Option<u32>,
    pub flushed: Option<Lsn>,
    /// The end of the primary's log as it last told.
    pub latest_end: Option<Lsn>,
}

/// A replica as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Standby {
    pub application_name: String,
    pub client_addr: Option<String>,
    /// `streaming` when it keeps up.
    pub state: Option<String>,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: Option<String>,
    pub sent: Option<Lsn>,
    pub written: Option<Lsn>,
    pub flushed: Option<Lsn>,
    pub replayed: Option<Lsn>,
}

impl Standby {
    pub fn is_streaming(&self) -> bool {
        self.state.as_deref() == Some("streaming")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Slot {
    pub name: String,
    pub physical: bool,
    pub active: bool,
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved`; `lost` when what it needs is gone.
    pub wal_status: Option<String>,
}

impl Slot {
    /// Its replica must be cloned again.
    pub fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost")
    }
}

/// PostgreSQL has no unsigned numbers, and shows this one as what it would be signed.
fn unsigned<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    i64::deserialize(from).map(i64::cast_unsigned)
}

/// The timeline of a replica: the receiver's when there is one, for the control file lags behind.
pub(super) const REPLICA_TIMELINE: &str = "greatest((select received_tli from pg_stat_wal_receiver), \
     (select timeline_id from pg_control_checkpoint()), \
     (select min_recovery_end_timeline from pg_control_recovery()))";

pub(in crate::postgres) const PRIMARY_TIMELINE: &str =
    "('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int";

impl Sql {
    pub async fn observe(&self) -> Result<Observed, PostgresError> {
        // What was replayed is asked first: what is received afterwards is never less of the same log.
        // A replica may become a primary between two evaluations, never the reverse: so what only a
        // primary may be asked stands behind its own question.
        let sql = format!(
            "select json_build_object(
  'system_identifier', (select system_identifier from pg_control_system()),
  'in_recovery', r, 'timeline', case when r then {REPLICA_TIMELINE} else {PRIMARY_TIMELINE} end,
  'current', case when r then null else pg_current_wal_flush_lsn() end,
  'replayed', case when r then pg_last_wal_replay_lsn() end,
  'received', case when r then pg_last_wal_receive_lsn() end,
  'replay_paused', case when r and pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
  'replay_age_ms', case when r then
     round(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint end,
  'uptime_ms', round(extract(epoch from clock_timestamp() - pg_postmaster_start_time()) * 1000)::bigint,
  'wal_receiver', (select json_build_object('status', status, 'sender_host', sender_host,
     'sender_port', sender_port, 'slot', nullif(slot_name, ''), 'received_timeline', received_tli,
     'flushed', flushed_lsn, 'latest_end', latest_end_lsn) from pg_stat_wal_receiver),
  'standbys', (select coalesce(json_agg(json_build_object('application_name', application_name,
     'client_addr', host(client_addr), 'state', state, 'sync_state', sync_state, 'sent', sent_lsn,
     'written', write_lsn, 'flushed', flush_lsn, 'replayed', replay_lsn) order by application_name), '[]')
     from pg_stat_replication),
  'slots', (select coalesce(json_agg(json_build_object('name', slot_name, 'physical',
     slot_type = 'physical', 'active', active, 'restart', restart_lsn, 'wal_status', wal_status)
     order by slot_name), '[]') from pg_replication_slots),
  'synchronous_standby_names', current_setting('synchronous_standby_names'),
  'epoch', nullif(current_setting('regent.epoch', true), '')::bigint,
  'pending_restart', (select coalesce(json_agg(name order by name), '[]') from pg_settings
     where pending_restart))::text
from (select pg_is_in_recovery() as r offset 0) as role"
        );
        self.json("observing", &sql).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_identifier_may_look_negative() {
        #[derive(Deserialize)]
        struct One {
            #[serde(deserialize_with = "unsigned")]
            value: u64,
        }
        let read = |text: &str| serde_json::from_str::<One>(text).map(|one| one.value);
        assert_eq!(read(r#"{"value":-1}"#).unwrap(), u64::MAX);
        assert!(read(r#"{"value":"1"}"#).is_err());
    }
}
