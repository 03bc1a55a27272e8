//! Whether a client could write here now: asked by writing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use decision::lsn::Lsn;
use serde::Deserialize;
use tokio::time::Instant;

use super::Session;
use crate::postgres::Postgres;
use crate::postgres::error::PostgresError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteProbe {
    /// Committed, on the disk, and on those standbys that commits wait for.
    Written {
        lsn: Lsn,
        took: Duration,
    },
    /// Nobody listens.
    NotRunning {
        why: String,
    },
    StartingUp,
    ShuttingDown,
    /// A replica.
    InRecovery,
    /// Alive, and full: not a death.
    TooManyConnections,
    DiskFull {
        detail: String,
    },
    /// A primary whose clients may only read (`default_transaction_read_only`).
    ReadOnly,
    /// It is on the disk, and a synchronous standby has not said that it has it.
    WaitingForStandby,
    /// It answers nothing in time, or the disk does not.
    Stalled {
        waiting_for: Option<String>,
    },
    /// We were not let in: this says nothing of whether clients are.
    Login {
        why: String,
    },
    Failed {
        error: PostgresError,
    },
}

impl WriteProbe {
    pub fn is_written(&self) -> bool {
        matches!(self, WriteProbe::Written { .. })
    }
}

const NAME: &str = "regent-probe-";

/// So many probes may hang in a stalled server; more would take its connections.
const MOST_HANGING: u64 = 2;

#[derive(Deserialize)]
struct Reply {
    hanging: u64,
    hanging_for: Option<String>,
    in_recovery: bool,
    read_only: bool,
    lsn: Option<Lsn>,
}

impl Postgres {
    /// Takes at most twice `timeout`: the second half to find out what a commit hangs on.
    pub async fn write_probe(&self, timeout: Duration) -> WriteProbe {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let began = Instant::now();
        let name = format!("{NAME}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A statement that the server itself ends while it waits for a standby counts as committed:
        // so it must not end this one.
        let session =
            Session { application_name: &name, options: "-c synchronous_commit=on", statement_timeout_ms: 0 };
        let sql = match self.connect_as(session, timeout).await {
            Ok(sql) => sql,
            Err(PostgresError::TimedOut { .. }) => {
                return WriteProbe::Stalled { waiting_for: Some("a connection".to_owned()) };
            }
            Err(error) => return of_error(error),
        };
        let left = timeout.saturating_sub(began.elapsed());
        let statement = format!(
            "with hanging as materialized (select count(*) as n, min(wait_event) as what
  from pg_stat_activity where application_name like '{NAME}%' and application_name <> '{name}'
  and state = 'active' and query_start < clock_timestamp() - interval '100 ms')
select json_build_object('hanging', n, 'hanging_for', what, 'in_recovery', pg_is_in_recovery(),
  'read_only', current_setting('default_transaction_read_only') = 'on',
  'lsn', case when not pg_is_in_recovery() and n < {MOST_HANGING}
     then pg_logical_emit_message(true, 'regent', 'probe') end)::text from hanging"
        );
        match sql.value_within("probing", &statement, left).await {
            Ok(text) => of_reply(&text.unwrap_or_default(), began.elapsed()),
            Err(PostgresError::TimedOut { .. }) => self.hangs_on(&name, timeout).await,
            Err(error) => of_error(error),
        }
    }

    async fn hangs_on(&self, name: &str, timeout: Duration) -> WriteProbe {
        let session = Session {
            application_name: "regent-probe",
            options: "",
            statement_timeout_ms: timeout.as_millis() as u64,
        };
        let began = Instant::now();
        let nothing = WriteProbe::Stalled { waiting_for: None };
        let Ok(sql) = self.connect_as(session, timeout).await else { return nothing };
        // A wait for a standby can be ended, and is of no more use; one for the disk cannot.
        let statement = format!(
            "select coalesce(wait_event, 'nothing') || case when wait_event = 'SyncRep' and
  pg_terminate_backend(pid) then '' else '' end from pg_stat_activity where application_name = '{name}'"
        );
        let left = timeout.saturating_sub(began.elapsed());
        match sql.value_within("probing", &statement, left).await {
            Ok(Some(event)) if event == "SyncRep" => WriteProbe::WaitingForStandby,
            Ok(waiting_for) => WriteProbe::Stalled { waiting_for },
            Err(_) => nothing,
        }
    }
}

fn of_reply(text: &str, took: Duration) -> WriteProbe {
    match serde_json::from_str::<Reply>(text) {
        Ok(Reply { in_recovery: true, .. }) => WriteProbe::InRecovery,
        Ok(Reply { hanging, hanging_for, lsn: None, .. }) if hanging >= MOST_HANGING => {
            if hanging_for.as_deref() == Some("SyncRep") {
                WriteProbe::WaitingForStandby
            } else {
                WriteProbe::Stalled { waiting_for: hanging_for }
            }
        }
        Ok(Reply { read_only: true, .. }) => WriteProbe::ReadOnly,
        Ok(Reply { lsn: Some(lsn), .. }) => WriteProbe::Written { lsn, took },
        Ok(_) | Err(_) => WriteProbe::Failed {
            error: PostgresError::Sql {
                doing: "probing",
                code: String::new(),
                message: format!("its answer is not understood: {text:?}"),
            },
        },
    }
}

fn of_error(error: PostgresError) -> WriteProbe {
    match error {
        PostgresError::Unreachable { why, .. } => WriteProbe::NotRunning { why },
        PostgresError::Login { why, .. } => WriteProbe::Login { why },
        PostgresError::DiskFull { detail, .. } => WriteProbe::DiskFull { detail },
        PostgresError::Sql { ref code, ref message, .. } => match code.as_str() {
            "53300" => WriteProbe::TooManyConnections,
            "25006" => WriteProbe::ReadOnly,
            "57P01" | "57P02" => WriteProbe::ShuttingDown,
            "57P03" if message.contains("shutting down") => WriteProbe::ShuttingDown,
            // Also recovery after a crash of one of its processes.
            "57P03" => WriteProbe::StartingUp,
            _ => WriteProbe::Failed { error },
        },
        error => WriteProbe::Failed { error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_not_success() {
        for text in ["", "null", "{}", r#"{"hanging":0,"in_recovery":false,"read_only":false,"lsn":null}"#] {
            let probe = of_reply(text, Duration::ZERO);
            assert!(matches!(probe, WriteProbe::Failed { .. }), "{text}: {probe:?}");
        }
    }

    #[test]
    fn what_the_server_refuses_with_is_told_apart() {
        let of = |code: &str, message: &str| {
            of_error(PostgresError::Sql {
                doing: "connecting",
                code: code.to_owned(),
                message: message.to_owned(),
            })
        };
        assert_eq!(of("53300", "sorry, too many clients already"), WriteProbe::TooManyConnections);
        assert_eq!(of("57P03", "the database system is shutting down"), WriteProbe::ShuttingDown);
        assert_eq!(of("57P03", "the database system is starting up"), WriteProbe::StartingUp);
        assert!(matches!(of("XX000", "?"), WriteProbe::Failed { .. }));
    }
}
