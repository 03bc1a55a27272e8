//! One who reads, again and again, what others were told is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{Client, Config, Error, NoTls};

use super::Driven;
use crate::live::clock::now_ns;
use crate::live::record::{Book, Reading, Way};

const EVERY: Duration = Duration::from_millis(400);
/// A relay lets clients wait while nobody can serve them.
const WITHIN: Duration = Duration::from_secs(3);
/// In one statement, so that all of it is of one moment.
const READ: &str = "select current_setting('cluster_name'), pg_is_in_recovery(), \
    array(select id from live.rows where id = any($1))";

pub(super) struct Reader {
    pub way: Way,
    pub to: &'static str,
    pub config: Config,
    pub book: Arc<Book>,
}

impl Reader {
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        loop {
            ticks.tick().await;
            let asked_ns = now_ns();
            let wanted = self.book.acknowledged(asked_ns);
            let seen = timeout(WITHIN, self.read(&mut kept, &wanted)).await;
            let answer = seen.ok().and_then(Result::ok);
            if answer.is_none() || self.way != Way::Kept {
                kept = None;
            }
            let (server, is_replica, missing) = match answer {
                None => (None, false, Vec::new()),
                Some((server, is_replica, rows)) => {
                    let is_missing = |(id, _): &(i64, u64)| !rows.contains(id);
                    (Some(server), is_replica, wanted.into_iter().filter(is_missing).collect())
                }
            };
            let ended_ns = now_ns();
            let (way, to) = (self.way, self.to);
            self.book.note_reading(Reading { way, to, asked_ns, ended_ns, server, is_replica, missing });
        }
    }

    /// Who answered, whether that is a replica, and which of these rows are there.
    async fn read(
        &self,
        kept: &mut Option<(Client, Driven)>,
        wanted: &[(i64, u64)],
    ) -> Result<(String, bool, Vec<i64>), Error> {
        let (client, _) = match kept {
            Some(kept) => kept,
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                kept.insert((client, Driven(tokio::spawn(connection))))
            }
        };
        let ids: Vec<i64> = wanted.iter().map(|(id, _)| *id).collect();
        let row = client.query_one(READ, &[&ids]).await?;
        Ok((row.get(0), row.get(1), row.get(2)))
    }
}
