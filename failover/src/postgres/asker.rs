//! How far a primary in another region has written, asked again and again: by one `psql` that stays, because a
//! connection costs half a dozen ways there and back.

use std::ffi::OsString;
use std::time::Duration;

use decision::database::Position;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use super::Postgres;
use super::config::Upstream;
use super::error::PostgresError;
use super::run::{self, Running};
use super::source::{self, not_understood};
use super::sql::PRIMARY_TIMELINE;

const DOING: &str = "asking the primary how far it is";

/// Ended when dropped. After an error it is of no use any more.
pub struct Asker {
    upstream: Upstream,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _running: Running,
}

impl Postgres {
    /// Connects with the first question.
    pub async fn asker(&self, upstream: &Upstream) -> Result<Asker, PostgresError> {
        self.write_passfile().await?;
        let conninfo = format!("{} {}", self.conninfo_to(upstream)?, source::SQL);
        let mut args: Vec<OsString> =
            ["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-d"].map(Into::into).into();
        args.push(conninfo.into());
        let (running, stdin, stdout) = run::start(self.program("psql", DOING, args))?;
        let lines = BufReader::new(stdout).lines();
        Ok(Asker { upstream: upstream.clone(), stdin, lines, _running: running })
    }
}

impl Asker {
    /// What is on its disk at some moment between the call and its answer; none where it takes no writes.
    pub async fn end(&mut self, within: Duration) -> Result<Option<Position>, PostgresError> {
        let unreachable =
            |why: String| PostgresError::Unreachable { server: self.upstream.server(), doing: DOING, why };
        // In one line, also where there is nothing to tell.
        let sql = format!(
            "select coalesce((select {PRIMARY_TIMELINE} || '|' || pg_current_wal_flush_lsn() \
             where not pg_is_in_recovery()), '-');\n"
        );
        let asked = async {
            self.stdin.write_all(sql.as_bytes()).await?;
            self.stdin.flush().await?;
            self.lines.next_line().await
        };
        let after_ms = within.as_millis() as u64;
        let reply = tokio::time::timeout(within, asked)
            .await
            .map_err(|_| PostgresError::TimedOut { doing: DOING, after_ms })?
            .map_err(|error| unreachable(error.to_string()))?
            .ok_or_else(|| unreachable("psql ended".into()))?;
        if reply == "-" {
            return Ok(None);
        }
        let read = reply.split_once('|').and_then(|(timeline, lsn)| {
            Some(Position { timeline: timeline.parse().ok()?, lsn: lsn.parse().ok()? })
        });
        read.map(Some).ok_or_else(|| not_understood(&self.upstream, "how far it is", &reply))
    }
}
