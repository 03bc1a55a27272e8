//! What a primary in another region says of itself: asked by `psql`, which speaks the replication
//! protocol and every kind of TLS that libpq does.

use super::config::{self, Upstream};
use super::error::{Class, PostgresError};
use super::history::{self, Left};
use super::run::{self, Finished};
use super::sql::PRIMARY_TIMELINE;
use super::{Postgres, durable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub system_identifier: u64,
    pub timeline: u32,
}

/// Where a primary comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    /// The ancestors of its timeline.
    pub history: Vec<Left>,
    /// Of its latest checkpoint.
    pub checkpointed: u32,
}

fn lineage(reply: &str) -> Option<(Source, Lineage)> {
    let mut fields = reply.splitn(4, '|').map(str::trim);
    let system_identifier = fields.next()?.parse::<i64>().ok()?.cast_unsigned();
    let timeline = fields.next()?.parse().ok()?;
    let checkpointed = fields.next()?.parse().ok()?;
    let history = history::parse(fields.next()?).ok()?;
    if history.is_empty() && timeline > 1 {
        return None;
    }
    Some((Source { system_identifier, timeline }, Lineage { history, checkpointed }))
}

/// SQL by a walsender: clients cannot take its place.
pub(super) const SQL: &str = "replication=database dbname=postgres";

impl Postgres {
    pub(super) fn conninfo_to(&self, upstream: &Upstream) -> Result<String, PostgresError> {
        let passfile = self.inner.paths.passfile.display().to_string();
        config::conninfo_of_program(&self.inner.settings, upstream, &passfile)
    }

    pub(super) async fn write_passfile(&self) -> Result<(), PostgresError> {
        self.change(|inner| {
            let text = config::passfile(&inner.settings);
            match durable::read(&inner.paths.passfile)? {
                Some(before) if before == text => Ok(()),
                _ => durable::write(&inner.paths.passfile, text.as_bytes(), inner.owner),
            }
        })
        .await
    }

    /// A primary, or an error: whoever followed another would have what that one has not, or lose it with it.
    pub(super) async fn identify(&self, upstream: &Upstream) -> Result<Source, PostgresError> {
        let sql = format!(
            "select system_identifier, {PRIMARY_TIMELINE} from pg_control_system() where not pg_is_in_recovery()"
        );
        let identified = |reply: &str| {
            let (system, timeline) = reply.trim().split_once('|')?;
            let system_identifier = system.parse::<i64>().ok()?.cast_unsigned();
            Some(Source { system_identifier, timeline: timeline.parse().ok()? })
        };
        self.ask_primary(upstream, &sql, identified).await
    }

    /// As [`Postgres::identify`], with the timelines that its own comes of; in one question, because each
    /// costs a connection, which is half a dozen ways there and back.
    pub(super) async fn identify_lineage(
        &self,
        upstream: &Upstream,
    ) -> Result<(Source, Lineage), PostgresError> {
        let sql = format!(
            "select system_identifier, t, (select timeline_id from pg_control_checkpoint()), case when t > 1 then
  convert_from(pg_read_binary_file('pg_wal/' || upper(lpad(to_hex(t), 8, '0')) || '.history'), 'UTF8') end
from pg_control_system(), (select {PRIMARY_TIMELINE} as t where not pg_is_in_recovery() offset 0) as own"
        );
        self.ask_primary(upstream, &sql, lineage).await
    }

    /// What only a primary has a row for.
    async fn ask_primary<T>(
        &self,
        upstream: &Upstream,
        sql: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, PostgresError> {
        let reply = self.ask(upstream, SQL, sql).await?;
        if reply.trim().is_empty() {
            return Err(PostgresError::NotYet { what: format!("{} is not a primary", upstream.server()) });
        }
        read(&reply).ok_or_else(|| not_understood(upstream, "what it is", &reply))
    }

    /// Whether it takes writes, and the timeline of its latest checkpoint: until that is the new
    /// one, older versions of `pg_rewind` take a promoted server for what it was.
    pub(super) async fn source_checkpoint(&self, upstream: &Upstream) -> Result<(bool, u32), PostgresError> {
        let sql = "select pg_is_in_recovery(), timeline_id from pg_control_checkpoint()";
        let reply = self.ask(upstream, SQL, sql).await?;
        match reply.trim().split_once('|') {
            Some((in_recovery, timeline)) => match timeline.parse() {
                Ok(timeline) => Ok((in_recovery == "f", timeline)),
                Err(_) => Err(not_understood(upstream, "pg_control_checkpoint", &reply)),
            },
            None => Err(not_understood(upstream, "pg_control_checkpoint", &reply)),
        }
    }

    /// Commits a message in its log, as clients commit there. One that waits for a synchronous standby waits
    /// on when we go away: so ours is ended by us, and not by the server, to whom that would be a commit.
    pub async fn write_to(&self, upstream: &Upstream) -> Result<(), PostgresError> {
        let sql = "select pg_logical_emit_message(true, 'regent', 'verify')";
        self.ask(upstream, "dbname=postgres", sql).await.map(drop)
    }

    /// From version 15 on the role may; before that the primary's own agent does.
    pub(super) async fn source_do_checkpoint(&self, upstream: &Upstream) -> Result<(), PostgresError> {
        self.ask(upstream, SQL, "CHECKPOINT").await.map(drop)
    }

    pub(super) async fn ask(
        &self,
        upstream: &Upstream,
        to: &str,
        command: &str,
    ) -> Result<String, PostgresError> {
        self.write_passfile().await?;
        let conninfo = format!("{} {to}", self.conninfo_to(upstream)?);
        let mut args: Vec<std::ffi::OsString> =
            ["-X", "-A", "-t", "-q", "-w", "-d"].into_iter().map(Into::into).collect();
        args.extend([conninfo.into(), "-c".into(), command.into()]);
        let finished = run::run(self.program("psql", "asking the primary", args)).await?;
        if finished.status.success() {
            return Ok(finished.stdout);
        }
        // 2: the connection went bad.
        let class = if finished.status.code() == Some(2) { Class::Retry } else { Class::Person };
        Err(self.remote_failure(upstream, &finished, class))
    }

    /// What a program that talked to a primary failed of; `class` where its words tell nothing.
    pub(super) fn remote_failure(
        &self,
        upstream: &Upstream,
        finished: &Finished,
        class: Class,
    ) -> PostgresError {
        let why = run::last_lines(&finished.stderr);
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        let (server, doing) = (upstream.server(), finished.doing);
        if says(&["No space left on device", "Disk quota exceeded"]) {
            let path = self.inner.paths.data.clone();
            let left = "What was there before is as it was";
            return PostgresError::DiskFull { doing, path, detail: why, left };
        }
        if says(&[
            "has already been removed",
            "can no longer get changes from replication slot",
            "has been invalidated",
            "cannot read from physical replication slot",
        ]) {
            return PostgresError::WalRemoved { what: why };
        }
        if says(&[
            "authentication failed",
            "no pg_hba.conf entry",
            "no password supplied",
            "must be superuser or replication role",
            "permission denied",
            "is not permitted to log in",
        ]) || (says(&["role \""]) && says(&["does not exist"]))
        {
            return PostgresError::Login { server, user: self.inner.settings.replication_user.clone(), why };
        }
        if says(&["remaining connection slots are reserved", "too many clients already"]) {
            return PostgresError::TooManyConnections { server, why };
        }
        if says(&[
            "could not connect",
            "Connection refused",
            "timeout expired",
            "could not translate host name",
            "server closed the connection",
            "could not receive data",
            "the database system is",
            "terminating connection",
            "No route to host",
            "Network is unreachable",
            "Connection timed out",
        ]) {
            return PostgresError::Unreachable { server, doing, why };
        }
        if says(&["already exists and is not empty", "directory \""]) && says(&["tablespace"]) {
            return finished.failed(Class::Person);
        }
        finished.failed(class)
    }
}

pub(super) fn not_understood(upstream: &Upstream, what: &str, reply: &str) -> PostgresError {
    PostgresError::Unreachable {
        server: upstream.server(),
        doing: "asking the primary",
        why: format!("its answer to {what} is not understood: {:?}", run::last_lines(reply)),
    }
}

#[cfg(test)]
mod tests {
    use decision::lsn::Lsn;

    use super::*;

    #[test]
    fn where_a_primary_comes_from_is_read() {
        let (source, lineage) =
            lineage("-7|3|2|1\t0/3000110\tno recovery target specified\n\n2\t0/4000000\tbecause|of\n")
                .expect("it is whole");
        assert_eq!(source, Source { system_identifier: (-7i64).cast_unsigned(), timeline: 3 });
        let left = |timeline, at| Left { timeline, at: Lsn(at) };
        assert_eq!(lineage.history, [left(1, 0x300_0110), left(2, 0x400_0000)]);
        assert_eq!(lineage.checkpointed, 2);
        assert!(super::lineage("7|1|1|").is_some_and(|(_, lineage)| lineage.history.is_empty()));
        for reply in ["", "7", "7|3|2|", "7|3|2", "x|1|1|", "7|1|x|", "7|2|2|rubbish"] {
            assert_eq!(super::lineage(reply), None, "{reply:?}");
        }
    }
}
