//! Probes whether the primary writes, beside the keeper, which a hung server must not hold up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use decision::database::health::{Health, Probe, judge};
use failover::postgres::{Postgres, WriteProbe};

/// Between two probes.
const EVERY: Duration = Duration::from_millis(500);
const PROBE_WITHIN: Duration = Duration::from_millis(1_000);

/// What was found of the server that is probed; ends with it.
pub(super) struct Prober {
    found: Arc<Mutex<Found>>,
    task: tokio::task::JoinHandle<()>,
}

struct Found {
    last: Probe,
    /// When it last was.
    alive: Instant,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    pub(super) fn start(postgres: Postgres) -> Prober {
        let found = Arc::new(Mutex::new(Found { last: Probe::Written, alive: Instant::now() }));
        let shared = Arc::clone(&found);
        let task = tokio::spawn(async move {
            loop {
                let probe = match reading(postgres.write_probe(PROBE_WITHIN).await) {
                    Probe::Written => full(&postgres).await.map_or(Probe::Written, |why| Probe::Held { why }),
                    hindered => hindered,
                };
                {
                    let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    found.last = found.last.clone().then(probe);
                    if found.last.is_alive() {
                        found.alive = Instant::now();
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Prober { found, task }
    }

    pub(super) fn health(&self, lease_ttl: Duration) -> Health {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        judge(&found.last, found.alive.elapsed(), lease_ttl)
    }
}

/// Two segments of the log: less, and the next write may be the last.
const ROOM_MIN_BYTES: u64 = 32 << 20;

/// Also one that still writes into what was set aside before. Only a primary is looked at: of a replica it
/// would be an obstacle, and disks of one size are full together.
async fn full(postgres: &Postgres) -> Option<String> {
    let free = postgres.free_bytes().await.ok().filter(|free| *free < ROOM_MIN_BYTES)?;
    let folder = postgres.settings().data_dir.display();
    Some(format!("its disk is full: {} MiB are left for {folder}: make room", free >> 20))
}

fn reading(probe: WriteProbe) -> Probe {
    let held = |why: String| Probe::Held { why };
    let stalled = |why: String| Probe::Stalled { why };
    match probe {
        WriteProbe::Written { .. } => Probe::Written,
        WriteProbe::TooManyConnections => {
            Probe::Crowded { why: "it has too many connections: raise max_connections, or end some".into() }
        }
        WriteProbe::DiskFull { detail } => held(format!("its disk is full: make room: {detail}")),
        WriteProbe::ReadOnly => held("default_transaction_read_only is on: its clients cannot write".into()),
        WriteProbe::WaitingForStandby => held("commits wait for a synchronous replica".into()),
        WriteProbe::Login { why } => held(format!("Regent itself is not let in: {why}")),
        // Its processes are looked at by the guard, which knows sooner.
        WriteProbe::InRecovery => held("it is in recovery".into()),
        WriteProbe::ShuttingDown => held("it is shutting down".into()),
        WriteProbe::StartingUp => {
            Probe::Recovering { why: "it recovers from a crash of one of its processes".into() }
        }
        WriteProbe::NotRunning { why } => stalled(why),
        WriteProbe::Stalled { waiting_for } => stalled(format!(
            "a commit hangs on {}",
            waiting_for.as_deref().unwrap_or("nothing that it tells")
        )),
        WriteProbe::Failed { error } => stalled(error.to_string()),
    }
}
