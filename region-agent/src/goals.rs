//! The newest goal: offered by a session, put on disk, then in force. Whoever acts by it watches it
//! here, so that a restart and normal running are one path.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::goal::Goal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::store::Store;

/// Until a goal says otherwise.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(500);
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);
/// A disk that hangs must not hold up a failover longer than this.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

/// The goal in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub goal: Goal,
    /// Whether a controller gave it since this process began. Steps are begun from such only: what
    /// lies on disk may have been done, or cancelled, long ago.
    pub is_live: bool,
}

impl Held {
    /// Between two heartbeats; never zero.
    pub fn heartbeat(&self) -> Duration {
        match self.goal.heartbeat {
            Duration::ZERO => FIRST_HEARTBEAT,
            heartbeat => heartbeat.max(SHORTEST_HEARTBEAT),
        }
    }
}

/// S2: a goal older than the one held was refused, which stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("goal of generation {offered} refused: generation {held} is held, and generations never fall")]
pub struct Stale {
    pub offered: u64,
    pub held: u64,
}

pub struct Goals {
    held: watch::Sender<Arc<Held>>,
    offered: watch::Sender<Option<Arc<Goal>>>,
    /// Of the newest goal offered, or on disk.
    newest: Mutex<u64>,
}

impl Goals {
    /// Begins with what is on disk.
    pub fn new(saved: Option<Goal>) -> Goals {
        let goal = saved.unwrap_or_default();
        let newest = Mutex::new(goal.generation);
        let held = Arc::new(Held { goal, is_live: false });
        Goals { held: watch::Sender::new(held), offered: watch::Sender::new(None), newest }
    }

    /// Takes a goal unless it is older than the newest seen. It comes into force soon after.
    pub fn offer(&self, goal: Goal) -> Result<(), Stale> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if goal.generation < *newest {
            return Err(Stale { offered: goal.generation, held: *newest });
        }
        *newest = goal.generation;
        // Under the lock, so that of two the newer stays.
        self.offered.send_replace(Some(Arc::new(goal)));
        Ok(())
    }

    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Held>> {
        self.held.subscribe()
    }

    /// Brings offered goals to disk and into force, until `stop`.
    pub async fn keep(&self, store: Arc<Store>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut offered = self.offered.subscribe();
        // One may have been offered before this began.
        offered.mark_changed();
        // A write that hangs; the next goal does not wait for it a second time.
        let mut writing: Option<tokio::task::JoinHandle<io::Result<()>>> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = offered.changed() => if changed.is_err() { break },
            }
            let Some(goal) = offered.borrow_and_update().clone() else { continue };
            if writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
                metrics.goal_store_failures.add();
                tracing::error!(
                    generation = goal.generation,
                    "the disk hangs: the goal is in force, but not saved"
                );
            } else {
                let (to_save, store) = (Arc::clone(&goal), Arc::clone(&store));
                let mut saving = tokio::task::spawn_blocking(move || store.save_goal(&to_save));
                match tokio::time::timeout(DISK_PATIENCE, &mut saving).await {
                    Ok(Ok(Ok(()))) => {}
                    Ok(result) => {
                        metrics.goal_store_failures.add();
                        let error =
                            result.map_or_else(|panic| panic.to_string(), |saved| format!("{saved:?}"));
                        tracing::error!(
                            error,
                            generation = goal.generation,
                            "the goal is in force, but not saved"
                        );
                    }
                    Err(_) => {
                        tracing::warn!(
                            generation = goal.generation,
                            "the disk is slow: going on without waiting"
                        );
                        writing = Some(saving);
                    }
                }
            }
            tracing::debug!(
                generation = goal.generation,
                assignments = goal.assignments.len(),
                "goal in force"
            );
            self.held.send_replace(Arc::new(Held { goal: Arc::unwrap_or_clone(goal), is_live: true }));
        }
        // What is being written is to be whole before the folder is given up.
        if let Some(writing) = writing {
            let _ = tokio::time::timeout(DISK_PATIENCE, writing).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use decision::name::AgentId;

    use super::*;

    fn goal(generation: u64) -> Goal {
        Goal { generation, ..Goal::default() }
    }

    #[test]
    fn an_older_goal_is_refused_also_after_a_restart() {
        let goals = Goals::new(Some(goal(7)));
        assert_eq!(goals.offer(goal(6)), Err(Stale { offered: 6, held: 7 }));
        assert_eq!(goals.offer(goal(7)), Ok(()));
        assert_eq!(goals.offer(goal(9)), Ok(()));
        assert_eq!(goals.offer(goal(8)), Err(Stale { offered: 8, held: 9 }));
        assert_eq!(goals.held().goal.generation, 7, "nothing is in force before it was kept");
    }

    #[tokio::test]
    async fn what_is_in_force_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), "c", &AgentId::new("eu", 1)).unwrap());
        let (goals, stop) = (Arc::new(Goals::new(None)), CancellationToken::new());
        let keeper = {
            let (goals, store, stop) = (Arc::clone(&goals), Arc::clone(&store), stop.clone());
            tokio::spawn(async move { goals.keep(store, Arc::default(), stop).await })
        };
        let mut held = goals.watch();
        assert!(!held.borrow().is_live);
        goals.offer(goal(7)).unwrap();
        let in_force = held.wait_for(|held| held.goal.generation == 7 && held.is_live);
        tokio::time::timeout(Duration::from_secs(20), in_force).await.unwrap().unwrap();
        assert_eq!(store.load_goal().unwrap(), Some(goal(7)));
        stop.cancel();
        keeper.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_does_not_stop_a_goal() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), "c", &AgentId::new("eu", 1)).unwrap());
        // In the way of the file that is written beside.
        std::fs::create_dir(dir.path().join("goal.json.new")).unwrap();
        let (goals, metrics) = (Arc::new(Goals::new(None)), Arc::new(Metrics::default()));
        let (keeping, counting) = (Arc::clone(&goals), Arc::clone(&metrics));
        tokio::spawn(async move { keeping.keep(store, counting, CancellationToken::new()).await });
        let mut held = goals.watch();
        goals.offer(goal(7)).unwrap();
        let in_force = held.wait_for(|held| held.goal.generation == 7);
        tokio::time::timeout(Duration::from_secs(20), in_force).await.unwrap().unwrap();
        assert_eq!(metrics.goal_store_failures.get(), 1);
    }
}
