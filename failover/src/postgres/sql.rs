//! A client of the local server over the private Unix socket. Every statement is bounded twice: by
//! the server, and by us, for a server whose disk hangs does not keep its own time.

mod control;
mod observe;
mod position;
mod probe;
mod users;

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Postgres;
use super::error::PostgresError;

pub use control::Promotion;
pub(super) use observe::PRIMARY_TIMELINE;
pub use observe::{Observed, Slot, Standby, WalReceiver};
pub use position::Position;
pub use probe::WriteProbe;

/// One connection, as the superuser. When a call timed out, drop it and connect again.
pub struct Sql {
    postgres: Postgres,
    client: Client,
    connection: AbortHandle,
}

impl Drop for Sql {
    fn drop(&mut self) {
        // Also when the server does not answer any more.
        self.connection.abort();
    }
}

/// What is asked of a connection beside its being one.
pub(super) struct Session<'a> {
    pub application_name: &'a str,
    /// More `-c name=value`.
    pub options: &'a str,
    pub statement_timeout_ms: u64,
}

/// The server ends a statement first, if it can: that tells more.
const GRACE: Duration = Duration::from_millis(250);

/// What waits for this call waits as long as it takes to poll once more.
pub(super) const POLL: Duration = Duration::from_millis(3);

impl Postgres {
    pub async fn connect(&self) -> Result<Sql, PostgresError> {
        let settings = self.settings();
        // What Regent writes here is not the clients' data: with no standby there, creating the
        // role that one needs to come must not wait for it.
        let session = Session {
            application_name: "regent",
            options: "-c synchronous_commit=local -c default_transaction_read_only=off",
            statement_timeout_ms: settings.statement_timeout_ms,
        };
        self.connect_as(session, Duration::from_millis(settings.statement_timeout_ms)).await
    }

    pub(super) async fn connect_as(
        &self,
        session: Session<'_>,
        within: Duration,
    ) -> Result<Sql, PostgresError> {
        let settings = self.settings();
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&settings.socket_dir)
            .port(settings.port)
            .user(&settings.superuser)
            .dbname("postgres")
            .application_name(session.application_name)
            .options(format!(
                "-c statement_timeout={} -c lock_timeout=0 -c standard_conforming_strings=on \
                 -c idle_in_transaction_session_timeout=0 -c client_encoding=UTF8 \
                 -c search_path=pg_catalog {}",
                session.statement_timeout_ms, session.options
            ));
        let doing = "connecting";
        let connected = tokio::time::timeout(within, config.connect(NoTls)).await;
        let (client, connection) =
            connected.map_err(|_| timed_out(doing, within))?.map_err(|error| self.failed(doing, &error))?;
        let task = tokio::spawn(async move {
            // Its error is told by the statements that it ends.
            let _ = connection.await;
        });
        Ok(Sql { postgres: self.clone(), client, connection: task.abort_handle() })
    }

    fn failed(&self, doing: &'static str, error: &tokio_postgres::Error) -> PostgresError {
        let settings = self.settings();
        let server = settings.socket_dir.join(format!(".s.PGSQL.{}", settings.port)).display().to_string();
        let Some(database) = error.as_db_error() else {
            let why = match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            return PostgresError::Unreachable { server, doing, why };
        };
        let code = database.code().code();
        let message = database.message().to_owned();
        if code.starts_with("28") {
            return PostgresError::Login { server, user: settings.superuser.clone(), why: message };
        }
        if *database.code() == SqlState::DISK_FULL {
            let left = "The statement was undone";
            let path = self.inner.paths.data.clone();
            return PostgresError::DiskFull { doing, path, detail: message, left };
        }
        PostgresError::Sql { doing, code: code.to_owned(), message }
    }
}

fn timed_out(doing: &'static str, after: Duration) -> PostgresError {
    PostgresError::TimedOut { doing, after_ms: after.as_millis() as u64 }
}

impl Sql {
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The first column of the first row; none when there is no row, or it is null.
    async fn value(&self, doing: &'static str, sql: &str) -> Result<Option<String>, PostgresError> {
        let within = Duration::from_millis(self.postgres.settings().statement_timeout_ms) + GRACE;
        self.value_within(doing, sql, within).await
    }

    async fn value_within(
        &self,
        doing: &'static str,
        sql: &str,
        within: Duration,
    ) -> Result<Option<String>, PostgresError> {
        let replies = tokio::time::timeout(within, self.client.simple_query(sql))
            .await
            .map_err(|_| timed_out(doing, within))?
            .map_err(|error| self.postgres.failed(doing, &error))?;
        let row = replies.iter().find_map(|reply| match reply {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(row.and_then(|row| row.try_get(0).ok().flatten()).map(str::to_owned))
    }

    /// A statement whose one value is JSON.
    async fn json<T: DeserializeOwned>(&self, doing: &'static str, sql: &str) -> Result<T, PostgresError> {
        let text = self.value(doing, sql).await?.unwrap_or_default();
        serde_json::from_str(&text).map_err(|error| PostgresError::Sql {
            doing,
            code: String::new(),
            message: format!("its answer is not understood: {error}"),
        })
    }

    async fn is_true(&self, doing: &'static str, condition: &str) -> Result<bool, PostgresError> {
        let value = self.value(doing, &format!("select {condition}")).await?;
        Ok(value.as_deref() == Some("t"))
    }

    /// Polls until it is so. False when the time is over.
    async fn wait_for(
        &self,
        doing: &'static str,
        condition: &str,
        until: Instant,
    ) -> Result<bool, PostgresError> {
        loop {
            if self.is_true(doing, condition).await? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// With `standard_conforming_strings`, which every session has on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
