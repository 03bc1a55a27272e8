//! Questions to a server over its private socket, which no cut reaches.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::cluster::Cluster;
use super::layout::POSTGRES_PORT;

const WITHIN: Duration = Duration::from_secs(5);
/// So many rows are asked for at a time.
const PIECE: usize = 50_000;

/// As the superuser, as Regent itself does.
pub(super) fn local(socket_dir: PathBuf) -> Config {
    let mut config = Config::new();
    config.host_path(socket_dir).port(POSTGRES_PORT).user("postgres").dbname("postgres");
    // Of the harness' own: no commit of it waits for another region.
    config.application_name("live").options("-c synchronous_commit=local");
    config
}

impl Cluster {
    /// The rows of one statement, columns as text.
    pub(super) fn ask(&self, region: &str, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let config = local(self.layout(region)?.socket_dir());
        let sql = sql.to_owned();
        let asked = async move { tokio::time::timeout(WITHIN, ask(config, &sql)).await };
        self.outside.run(asked)?.context("no answer in time")?.with_context(|| region.to_owned())
    }

    /// Whether a server takes writes; an error: there is none that answers.
    pub fn is_primary(&self, region: &str) -> anyhow::Result<bool> {
        let rows = self.ask(region, "select pg_is_in_recovery()")?;
        Ok(rows.first().and_then(|row| row.first()).is_some_and(|text| text == "f"))
    }

    /// Who streams from this server.
    pub fn streaming_from(&self, region: &str) -> anyhow::Result<BTreeSet<String>> {
        let sql = "select application_name from pg_stat_replication where state = 'streaming'";
        Ok(self.ask(region, sql)?.into_iter().flatten().collect())
    }

    /// All that clients wrote, from an id on. In pieces: an hour's are a million.
    pub(super) fn rows(&self, region: &str, from: i64) -> anyhow::Result<BTreeSet<i64>> {
        let mut rows = BTreeSet::new();
        let mut next = Some(from);
        while let Some(from) = next {
            let sql = format!("select id from live.rows where id >= {from} order by id limit {PIECE}");
            let piece = self.ask(region, &sql)?.into_iter().flatten();
            let piece = piece.map(|id| id.parse().context("an id")).collect::<anyhow::Result<Vec<i64>>>()?;
            next = piece.last().filter(|_| piece.len() == PIECE).map(|last| last + 1);
            rows.extend(piece);
        }
        Ok(rows)
    }

    /// Each timeline begins a segment of the log, and as long as it goes on with the same number none goes away: a
    /// rewind would fetch them all.
    pub(super) fn end_segment(&self, primary: &str) -> anyhow::Result<()> {
        self.ask(primary, "select pg_switch_wal()")?;
        self.ask(primary, "checkpoint").map(drop)
    }

    pub(super) fn make_table(&self, primary: &str) -> anyhow::Result<()> {
        let sql = "create schema if not exists live;
            create table if not exists live.rows (id bigint primary key, writer text not null);
            do $$ begin
              if not exists (select from pg_roles where rolname = 'app') then create role app login; end if;
            end $$;
            grant usage on schema live to app;
            grant select, insert on live.rows to app;";
        self.ask(primary, sql).map(drop)
    }
}

async fn ask(config: Config, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = rows(&client, sql).await;
    connection.abort();
    rows
}

async fn rows(client: &Client, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|n| row.get(n).unwrap_or_default().to_owned()).collect());
        }
    }
    Ok(rows)
}
