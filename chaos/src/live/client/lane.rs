//! One connection that inserts a row, waits for the answer, and inserts the next; when it is lost, another is
//! made as soon as may be, so that what is measured is the system and not a client's patience.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement};

use super::Driven;
use crate::live::clock::{from_wall_us, now_ns};
use crate::live::record::{Attempt, Book, Class, Era, Outcome, Who};

/// The server says who it is with every row, for a relay may lead anywhere.
const INSERT: &str = "insert into live.rows (id, writer) values ($1, $2) returning \
    current_setting('cluster_name'), \
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), \
    (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, \
    current_setting('regent.epoch', true), \
    (extract(epoch from clock_timestamp()) * 1000000)::bigint";

/// After a connection was refused or ended.
const AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub every: Duration,
    /// Given up after this, and the connection with it: a server that is cut off does not say so.
    pub statement_within: Duration,
    pub connect_within: Duration,
}

pub(super) struct Lane {
    pub who: Who,
    pub to: &'static str,
    pub config: Config,
    pub pace: Pace,
    pub offset: Duration,
    /// Tries also while the server takes no writes.
    pub probes: bool,
    /// Known by all lanes to this server.
    pub writable: Arc<watch::Sender<bool>>,
    pub book: Arc<Book>,
}

impl Lane {
    pub async fn run(self) {
        sleep(self.offset).await;
        loop {
            self.once().await;
            sleep(AGAIN).await;
        }
    }

    /// One connection, as long as it lasts.
    async fn once(&self) {
        let begun = async {
            let (client, connection) = self.config.connect(NoTls).await?;
            let connection = Driven(tokio::spawn(connection));
            let insert = client.prepare(INSERT).await?;
            Ok::<_, Error>((client, connection, insert))
        };
        // Connecting takes three round trips.
        if let Ok(Ok((client, connection, insert))) = timeout(self.pace.connect_within * 2, begun).await {
            self.write(&client, &insert).await;
            drop(connection);
        }
    }

    async fn write(&self, client: &Client, insert: &Statement) {
        let mut writable = self.writable.subscribe();
        let mut ticks = interval(self.pace.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !client.is_closed() {
            ticks.tick().await;
            if !self.probes && !*writable.borrow_and_update() {
                // The connection may end meanwhile.
                let _ = timeout(self.pace.every * 5, writable.changed()).await;
                continue;
            }
            match self.insert(client, insert).await {
                Outcome::Acked { .. } => self.say(true),
                Outcome::Failed(Class::ReadOnly, _) => self.say(false),
                Outcome::Failed(..) => return,
            }
        }
    }

    fn say(&self, writable: bool) {
        self.writable.send_if_modified(|before| std::mem::replace(before, writable) != writable);
    }

    async fn insert(&self, client: &Client, insert: &Statement) -> Outcome {
        let id = self.book.id();
        let sent_ns = now_ns();
        let writer = format!("{:?}", self.who);
        let values: [&(dyn ToSql + Sync); 2] = [&id, &writer];
        let answer = client.query_one(insert, &values);
        let outcome = match timeout(self.pace.statement_within, answer).await {
            Ok(Ok(row)) => acked(&row),
            Ok(Err(error)) => Outcome::Failed(class(&error), told(&error)),
            Err(_) => Outcome::Failed(Class::TimedOut, String::new()),
        };
        let attempt =
            Attempt { id, who: self.who, to: self.to, sent_ns, ended_ns: now_ns(), outcome: outcome.clone() };
        self.book.note(attempt);
        outcome
    }
}

fn acked(row: &Row) -> Outcome {
    let era = Era { server: row.get(0), timeline: row.get(1), started_us: row.get(2) };
    let epoch = row.get::<_, Option<String>>(3).and_then(|text| text.parse().ok()).unwrap_or_default();
    Outcome::Acked { era, epoch, ran_ns: from_wall_us(row.get(4)) }
}

fn class(error: &Error) -> Class {
    match error.code() {
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Class::ReadOnly,
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => Class::NotNow,
        // 57P: it ends, starts, or crashed.
        Some(code) if code.code().starts_with("57P") => Class::NotNow,
        Some(_) => Class::Other,
        None => Class::Closed,
    }
}

fn told(error: &Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
