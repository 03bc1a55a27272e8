//! What is found of the instance now: its processes, its files, and what the server says.

use decision::database::Position;
use decision::database::branch::Kinship;
use decision::database::guard::{Guard, Watchdog};
use decision::database::keep::{Ended, Files, Process, Seen};
use decision::database::look::{Look, Server};
use decision::lsn::Lsn;
use decision::name::RegionName;
use decision::plan::Epoch;
use failover::postgres::{DataDir, Observed, Postgres, PostgresError, Sql, WalReceiver};

use crate::guard::protocol::{By, Phase, Status, WatchdogState};

/// What the server itself last said, kept over one look.
#[derive(Default)]
pub(super) struct Connection(Option<Sql>);

impl Connection {
    pub(super) fn drop(&mut self) {
        self.0 = None;
    }

    pub(super) async fn get(&mut self, postgres: &Postgres) -> Result<&Sql, PostgresError> {
        if self.0.as_ref().is_none_or(Sql::is_closed) {
            self.0 = Some(postgres.connect().await?);
        }
        self.0.as_ref().ok_or(PostgresError::NotYet { what: "there is no connection".into() })
    }

    /// Dropped when a call did not come back: the next one is begun anew.
    pub(super) async fn observe(&mut self, postgres: &Postgres) -> Result<Observed, PostgresError> {
        let observed = self.get(postgres).await?.observe().await;
        if observed.is_err() {
            self.drop();
        }
        observed
    }
}

/// One look; whose log it holds, and whether it follows, is not looked at here. `follows`: whom the running server was
/// last told to follow; the outer none: this process never told it.
pub(super) async fn look(
    postgres: &Postgres,
    connection: &mut Connection,
    status: &Status,
    follows: Option<&Option<RegionName>>,
    leased: bool,
    released: bool,
    dead: Option<String>,
) -> (Look, Option<Observed>) {
    let ended = status.last.as_ref().zip(status.epoch).map(|(last, epoch)| Ended {
        epoch: Epoch(epoch),
        // Whoever was told to end did not die.
        fenced: last.by != By::Itself,
    });
    let found = found(postgres, connection, status, follows).await;
    let server = found.observed.as_ref().map(server);
    let streams = |server: &Server| server.followers.iter().map(|(name, _)| name.clone()).collect();
    let seen = Seen {
        files: found.files,
        process: found.process,
        leased,
        ended,
        dead,
        kin: Kinship::default(),
        was_told: false,
        released,
        parted: false,
        suspect: false,
        misled: false,
        followers: server.as_ref().map(streams).unwrap_or_default(),
    };
    (Look { seen, server, guard: guard(status), replies: Vec::new(), problem: found.problem }, found.observed)
}

fn guard(status: &Status) -> Guard {
    let lease = status.running.as_ref().and_then(|running| running.lease);
    Guard {
        armed: lease.map(|lease| Epoch(lease.epoch)),
        backstop: status.backstop,
        watchdog: match &status.watchdog {
            WatchdogState::Absent => Watchdog::Absent,
            WatchdogState::Closed => Watchdog::Closed,
            WatchdogState::Open => Watchdog::Open,
            WatchdogState::Failed(_) => Watchdog::Failed,
        },
    }
}

struct Found {
    files: Files,
    process: Process,
    observed: Option<Observed>,
    problem: Option<String>,
}

async fn found(
    postgres: &Postgres,
    connection: &mut Connection,
    status: &Status,
    follows: Option<&Option<RegionName>>,
) -> Found {
    let unseen = |process, problem| Found { files: Files::Unseen, process, observed: None, problem };
    match &status.running {
        None => {
            connection.drop();
            let (files, problem) = files(postgres).await;
            Found { files, process: Process::None, observed: None, problem }
        }
        Some(running) if running.phase != Phase::Up => {
            connection.drop();
            unseen(Process::Stopping, None)
        }
        Some(_) => match connection.observe(postgres).await {
            Ok(observed) => {
                let system = observed.system_identifier.to_string();
                let files = Files::Present { system, standby: observed.in_recovery, clean: None };
                let process = process(&observed, follows);
                Found { files, process, observed: Some(observed), problem: None }
            }
            Err(error) => unseen(Process::Starting, is_for_a_person(&error).then(|| error.to_string())),
        },
    }
}

fn is_for_a_person(error: &PostgresError) -> bool {
    error.class() == failover::postgres::Class::Person && !matches!(error, PostgresError::Io { .. })
}

fn process(observed: &Observed, follows: Option<&Option<RegionName>>) -> Process {
    if !observed.in_recovery {
        return Process::Primary;
    }
    Process::Replica {
        of: follows.cloned().flatten(),
        position: position(observed),
        streaming: receives(observed),
    }
}

fn server(observed: &Observed) -> Server {
    let receiver = observed.wal_receiver.as_ref();
    let followers = observed.standbys.iter().filter(|standby| standby.is_streaming());
    Server {
        in_recovery: observed.in_recovery,
        position: position(observed),
        streams: receives(observed),
        received: observed.received,
        upstream: receiver.and_then(|receiver| upstream(observed, receiver)),
        followers: followers
            .map(|standby| (RegionName(standby.application_name.clone()), standby.flushed))
            .collect(),
    }
}

fn receives(observed: &Observed) -> bool {
    observed.wal_receiver.as_ref().is_some_and(|receiver| receiver.status == "streaming")
}

/// Of a primary what it wrote, of a replica what it has on disk.
fn position(observed: &Observed) -> Option<Position> {
    let lsn = match observed.in_recovery {
        false => observed.current,
        true => observed.received.max(observed.replayed),
    }?;
    Some(Position { timeline: observed.timeline, lsn })
}

/// The furthest that the primary said it was.
fn upstream(observed: &Observed, receiver: &WalReceiver) -> Option<Position> {
    let timeline = receiver.received_timeline.unwrap_or(observed.timeline);
    receiver.latest_end.map(|lsn| Position { timeline, lsn })
}

pub(super) async fn files(postgres: &Postgres) -> (Files, Option<String>) {
    match postgres.observe_files(None).await {
        Ok(DataDir::Absent | DataDir::Empty) => (Files::Absent, None),
        Ok(DataDir::Present(found)) => {
            let control = &found.control;
            let clean = control.state.is_clean().then(|| Position {
                timeline: control.timeline,
                lsn: Lsn::max(control.checkpoint, control.min_recovery_end),
            });
            let files = Files::Present {
                system: control.system_identifier.to_string(),
                standby: found.standby_signal && !found.rewind_begun,
                clean,
            };
            (files, None)
        }
        Ok(DataDir::Broken { what }) => (Files::Broken { why: what.clone() }, None),
        Ok(DataDir::Foreign { what, remedy }) => {
            let why = format!("its data folder is not ours to touch: {what}; {remedy}");
            (Files::Foreign { why: why.clone() }, Some(why))
        }
        Err(error) => (Files::Unseen, Some(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replica's, as PostgreSQL 15 told it.
    fn observed(received: &str, replayed: &str) -> Observed {
        let told = serde_json::json!({
            "system_identifier": 7, "in_recovery": true, "timeline": 13, "current": null, "received": received,
            "replayed": replayed, "replay_paused": false, "replay_age_ms": 5, "uptime_ms": 5000,
            "wal_receiver": {
                "status": "streaming", "sender_host": "192.0.2.1", "sender_port": 5432, "slot": "regent_eu_e19",
                "received_timeline": 13, "flushed": received, "latest_end": received,
            },
            "standbys": [], "slots": [], "synchronous_standby_names": "", "pending_restart": [],
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn what_receives_less_than_it_replayed_is_not_fed() {
        // The primary's timeline branched off 120 bytes before.
        let parted = observed("0/464F2E0", "0/464F358");
        assert!(!server(&parted).is_fed());
        assert!(
            matches!(process(&parted, None), Process::Replica { streaming: true, .. }),
            "it may get more"
        );
        assert!(server(&observed("0/464F358", "0/464F358")).is_fed());
    }
}
