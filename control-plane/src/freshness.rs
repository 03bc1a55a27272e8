//! How current this member's state is: when it was last confirmed with a majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use decision::time::Time;
use tokio::sync::watch;

use crate::controller::Controller;

const CONFIRM_EVERY: Duration = Duration::from_secs(1);
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

pub struct Freshness {
    /// By this member's own clock, milliseconds; 0 before the first time.
    confirmed_at: AtomicU64,
    applied: watch::Sender<u64>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { confirmed_at: AtomicU64::new(0), applied: watch::channel(0).0 }
    }
}

impl Freshness {
    pub fn at(&self) -> Time {
        Time(self.confirmed_at.load(Ordering::Relaxed))
    }

    /// The index last applied.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }
}

/// Confirms again and again; ends only when dropped.
pub async fn confirm(controller: Arc<Controller>) {
    loop {
        let begun = controller.host.clock.now();
        if controller.linearizable(CONFIRM_WITHIN).await.is_ok() {
            controller.freshness.confirmed_at.store(begun.0, Ordering::Relaxed);
        }
        tokio::time::sleep(CONFIRM_EVERY).await;
    }
}

/// Passes on what was applied, as a plain number.
pub async fn follow(controller: Arc<Controller>) {
    let mut applied = controller.node.view().applied();
    loop {
        let index = applied.borrow_and_update().map_or(0, |id| id.index);
        controller.freshness.applied.send_replace(index);
        if applied.changed().await.is_err() {
            return;
        }
    }
}
