//! What the agent counts, since its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter, or a gauge where it is set.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Of a gauge that `add` raised.
    pub fn take(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Metrics {
    pub probes_passed: Number,
    pub probes_failed: Number,
    /// The vantage itself was late: they said nothing of their targets.
    pub probes_late: Number,
    /// Gauge: how much it stretches its own timeouts, 1 to 8.
    pub multiplier: Number,
    /// Gauge: the scheduler's worst lag in the last period.
    pub lag_ms: Number,
    /// Gauge: 1 while a controller acknowledges heartbeats.
    pub session_open: Number,
    pub sessions_opened: Number,
    pub goals_refused: Number,
    /// Goals in force that are not on disk.
    pub goal_store_failures: Number,
    pub steps_done: Number,
    pub steps_failed: Number,
    pub steps_refused: Number,
    /// Gauge: clients of the endpoints of databases, those that wait among them.
    pub relay_open: Number,
    /// Gauge: clients that nobody can serve yet.
    pub relay_waiting: Number,
    pub relay_accepted: Number,
    /// Ended because whom they were relayed to may not serve them any more.
    pub relay_cut: Number,
    /// Nobody could serve them in time, or they were too many.
    pub relay_refused: Number,
}
