//! What changes a running server.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{GRACE, Sql, identifier, literal, timed_out};
use crate::postgres::apply::Lasts;
use crate::postgres::config::{self, Desired};
use crate::postgres::error::PostgresError;
use crate::postgres::settings::{EPOCH_MARK, SLOT_PREFIX};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// It is on its way: see [`Sql::wait_writable`].
    Begun,
    /// It was none of a replica any more.
    AlreadyPrimary,
}

#[derive(Deserialize)]
struct InForce {
    sync: String,
    conninfo: String,
    slot: String,
    epoch: Option<String>,
    sync_from: Option<String>,
    file_error: Option<String>,
}

impl Sql {
    /// Returns at once.
    pub async fn promote(&self) -> Result<Promotion, PostgresError> {
        let sql = "select case when pg_is_in_recovery() then pg_promote(false) end";
        match self.value("promoting", sql).await?.as_deref() {
            None => Ok(Promotion::AlreadyPrimary),
            Some("t") => Ok(Promotion::Begun),
            Some(_) => {
                Err(PostgresError::NotYet { what: "the server did not take the promotion".to_owned() })
            }
        }
    }

    pub async fn wait_writable(&self, within: Duration) -> Result<(), PostgresError> {
        let doing = "waiting for the promotion";
        match self.wait_for(doing, "not pg_is_in_recovery()", Instant::now() + within).await? {
            true => Ok(()),
            false => Err(timed_out(doing, within)),
        }
    }

    /// The server reads its files again; it does so some moments later.
    pub async fn reload(&self) -> Result<(), PostgresError> {
        self.value("reloading", "select pg_reload_conf()").await.map(drop)
    }

    /// Writes the configuration and waits until the server has it in force.
    pub async fn apply(&self, desired: &Desired, within: Duration) -> Result<(), PostgresError> {
        self.apply_to(desired, within, Lasts::Surely).await
    }

    pub(super) async fn apply_to(
        &self,
        desired: &Desired,
        within: Duration,
        lasts: Lasts,
    ) -> Result<(), PostgresError> {
        let until = Instant::now() + within;
        let inner = &self.postgres.inner;
        let passfile = inner.paths.passfile.display().to_string();
        let upstream = match &desired.role {
            config::Role::Replica { upstream } => upstream.as_ref(),
            config::Role::Primary => None,
        };
        let conninfo = upstream
            .map(|upstream| config::conninfo(&inner.settings, upstream, &passfile))
            .transpose()?
            .unwrap_or_default();
        let slot = upstream.and_then(|upstream| upstream.slot.clone()).unwrap_or_default();
        let sync = desired.sync.render()?;
        self.postgres.write_config_to(desired, lasts).await?;
        self.reload().await?;
        let doing = "waiting for the configuration to be in force";
        let sql = "select json_build_object('sync', current_setting('synchronous_standby_names'),
  'conninfo', current_setting('primary_conninfo'), 'slot', current_setting('primary_slot_name'),
  'epoch', current_setting('regent.epoch', true), 'sync_from',
  (select sourcefile from pg_settings where name = 'synchronous_standby_names'), 'file_error',
  (select sourcefile || ' line ' || sourceline || ': ' || error from pg_file_settings
     where error is not null and error <> 'setting could not be applied' limit 1))::text";
        loop {
            let found: InForce = self.json(doing, sql).await?;
            let epoch = desired.epoch.to_string();
            let wanted = [
                ("synchronous_standby_names", &found.sync, &sync),
                ("primary_conninfo", &found.conninfo, &conninfo),
                ("primary_slot_name", &found.slot, &slot),
                ("regent.epoch", found.epoch.as_ref().unwrap_or(&String::new()), &epoch),
            ]
            .map(|(name, found, wanted)| (name, found.clone(), wanted.clone()));
            let Some((name, is, wanted)) = wanted.into_iter().find(|(_, found, wanted)| found != wanted)
            else {
                return Ok(());
            };
            if Instant::now() >= until {
                let source_of_it = found
                    .file_error
                    .or(found.sync_from.map(|file| format!("set in {file}")))
                    .unwrap_or_else(|| "not reloaded yet".to_owned());
                return Err(PostgresError::NotInForce {
                    name: name.to_owned(),
                    found: is,
                    wanted,
                    source_of_it,
                });
            }
            tokio::time::sleep(super::POLL).await;
        }
    }

    /// As [`Sql::apply`]; and when it returns, every later commit waits for these standbys. Which
    /// commits wait is decided by the checkpointer, who reads its configuration between two
    /// checkpoints: so one that is asked for later is waited for.
    pub async fn set_sync_standbys(&self, desired: &Desired, within: Duration) -> Result<(), PostgresError> {
        self.apply(desired, within).await?;
        if desired.sync.names().is_empty() {
            return Ok(());
        }
        self.checkpoint(within).await
    }

    pub async fn checkpoint(&self, within: Duration) -> Result<(), PostgresError> {
        let doing = "making a checkpoint";
        let ms = within.as_millis();
        self.value(doing, &format!("set statement_timeout = {ms}")).await?;
        let done = self.value_within(doing, "checkpoint", within + GRACE).await.map(drop);
        // The next statement, on this connection, has its usual time again.
        self.value(doing, "reset statement_timeout").await?;
        done
    }

    /// Ends the clients' sessions, but for Regent's own. How many.
    pub async fn terminate_backends(&self) -> Result<u64, PostgresError> {
        let sql = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
  where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name not like 'regent%'";
        let count = self.value("ending sessions", sql).await?;
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// The role that replicas come as, with the password of the settings, and what `pg_rewind` needs
    /// of it. The password is sent as its verifier: a log of statements has no secret.
    pub async fn ensure_roles(&self) -> Result<(), PostgresError> {
        let settings = self.postgres.settings();
        let role = identifier(&settings.replication_user);
        let verifier =
            postgres_protocol::password::scram_sha_256(settings.replication_password.reveal().as_bytes());
        let mut sql = format!(
            "do $do$ begin
  if not exists (select from pg_roles where rolname = {name}) then create role {role}; end if;
end $do$;
alter role {role} with login replication nosuperuser connection limit -1 valid until 'infinity' password {verifier};
grant connect on database postgres to {role};
grant execute on function pg_ls_dir(text, boolean, boolean) to {role};
grant execute on function pg_stat_file(text, boolean) to {role};
grant execute on function pg_read_binary_file(text) to {role};
grant execute on function pg_read_binary_file(text, bigint, bigint, boolean) to {role};",
            name = literal(&settings.replication_user),
            verifier = literal(&verifier),
        );
        if self.postgres.version() >= 15 {
            // So that a rewind need not wait for the first checkpoint after a promotion.
            sql.push_str(&format!("\ngrant pg_checkpoint to {role};"));
        }
        if self.postgres.version() >= 16 {
            sql.push_str(&format!("\ngrant pg_use_reserved_connections to {role};"));
        }
        self.value("making the role for replication", &sql).await.map(drop)
    }

    /// A physical slot that holds the log from where the one of an older epoch does; without one, from now on. One
    /// that lost what it held is made anew.
    pub async fn ensure_slot(&self, name: &str) -> Result<(), PostgresError> {
        let new = our_slot(name)?;
        let of_any_epoch = name.rsplit_once(EPOCH_MARK).map_or(name, |(stem, _)| stem);
        let sql = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots
  where slot_name = {new} and wal_status = 'lost';
select case when old is null then (pg_create_physical_replication_slot({new}, true)).slot_name
  else (pg_copy_physical_replication_slot(old, {new})).slot_name end
  from (select (select slot_name from pg_replication_slots where slot_type = 'physical'
    and slot_name ~ '^{of_any_epoch}{EPOCH_MARK}[0-9]+$' and wal_status in ('reserved', 'extended')
    order by length(slot_name::text) desc, slot_name desc limit 1) as old) as before
  where not exists (select from pg_replication_slots where slot_name = {new})"
        );
        self.value("making a slot", &sql).await.map(drop)
    }

    /// Drops every slot of Regent's that is not among these, also those left from when this instance
    /// was a primary. Who is sent by one of them is not any more (S3): it was told so at another epoch.
    pub async fn retain_slots(&self, keep: &BTreeSet<String>) -> Result<(), PostgresError> {
        let kept: Vec<String> = keep.iter().map(|name| literal(name)).collect();
        // It comes again at once, and may be there before the slot is gone.
        let sql = format!(
            "do $do$ declare slot record; begin
  for slot in select slot_name from pg_replication_slots where slot_type = 'physical'
    and starts_with(slot_name, '{SLOT_PREFIX}') and not slot_name = any (array[{}]::text[])
  loop
    for attempt in 1..20 loop
      begin
        perform pg_drop_replication_slot(slot.slot_name);
        exit;
      exception when object_in_use then
        perform pg_terminate_backend(active_pid) from pg_replication_slots
          where slot_name = slot.slot_name and active_pid is not null;
        perform pg_sleep(0.005);
      end;
    end loop;
  end loop;
end $do$",
            kept.join(", ")
        );
        self.value("dropping slots", &sql).await.map(drop)
    }
}

fn our_slot(name: &str) -> Result<String, PostgresError> {
    let is_taken = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.starts_with(SLOT_PREFIX) && name.bytes().all(is_taken) {
        return Ok(literal(name));
    }
    Err(PostgresError::Config {
        what: format!("slot {name:?} is not Regent's: {SLOT_PREFIX}, small letters, digits and underscores"),
    })
}
