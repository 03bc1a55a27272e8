//! Keeps the lease of one database while it is wanted. The deadline counts from the moment a
//! renewal was *sent* (S1), on the clock that the guard counts by, which goes on while the machine
//! sleeps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::config::LeaseTimings;
use decision::database::{Position, lease::guard_after};
use decision::name::ServiceName;
use decision::plan::Epoch;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::lease::{Renewal, Renewed};

use super::controllers::Controllers;
use crate::guard::client::Guard;
use crate::guard::now_ns;
use crate::guard::protocol::Lease;

/// Renewals under way at once: past it, their answers would come too late anyway.
const MOST_UNDER_WAY: usize = 8;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) epoch: Epoch,
    pub(super) timings: LeaseTimings,
    /// When it was first said that this instance is ready, if the grant came surely after.
    pub(super) ready_ns: Option<u64>,
}

/// A lease as the guard is to count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    /// When the guard kills.
    pub(super) deadline_ns: u64,
}

impl Held {
    pub(super) fn left(&self) -> Duration {
        Duration::from_nanos(self.deadline_ns.saturating_sub(now_ns()))
    }

    pub(super) fn for_guard(&self) -> Lease {
        Lease { epoch: self.epoch.0, deadline_ns: self.deadline_ns }
    }
}

/// Shared by the keeper of the instance and the renewals.
pub(super) struct LeaseKeeper {
    wanted: watch::Sender<Option<Wanted>>,
    held: watch::Sender<Option<Held>>,
    /// The guard counts: each renewal is told to it.
    armed: Mutex<Option<Guard>>,
    position: Mutex<Option<Position>>,
}

impl LeaseKeeper {
    pub(super) fn new() -> Arc<LeaseKeeper> {
        Arc::new(LeaseKeeper {
            wanted: watch::Sender::new(None),
            held: watch::Sender::new(None),
            armed: Mutex::default(),
            position: Mutex::default(),
        })
    }

    pub(super) fn want(&self, wanted: Option<Wanted>) {
        let changed = self.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        if !changed {
            return;
        }
        let first = wanted.and_then(|wanted| {
            let after = guard_after(wanted.timings.ttl, wanted.timings.fence_budget);
            let deadline_ns = wanted.ready_ns? + after.as_nanos() as u64;
            Some(Held { epoch: wanted.epoch, deadline_ns })
        });
        self.held.send_modify(|held| {
            if held.map(|held| held.epoch) != wanted.map(|wanted| wanted.epoch) {
                *held = first;
            }
        });
    }

    /// What is held of this epoch, if it is not over.
    pub(super) fn held(&self, epoch: Epoch) -> Option<Held> {
        self.held.borrow().filter(|held| held.epoch == epoch && !held.left().is_zero())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    /// From now on renewals are told to the guard.
    pub(super) fn arm(&self, guard: Option<Guard>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = guard;
    }

    pub(super) fn note(&self, position: Option<Position>) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    /// Renews as long as it is wanted.
    pub(super) async fn keep(self: Arc<Self>, service: ServiceName, controllers: Controllers) {
        let mut wants = self.wanted.subscribe();
        loop {
            let wanted = *wants.borrow_and_update();
            tokio::select! {
                changed = wants.changed() => if changed.is_err() { return },
                () = async {
                    match wanted {
                        Some(wanted) => self.renew(&service, &controllers, wanted).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Those under way are given up when it is wanted no more.
    async fn renew(self: &Arc<Self>, service: &ServiceName, controllers: &Controllers, wanted: Wanted) {
        let LeaseTimings { ttl, renew_every, .. } = wanted.timings;
        let mut ticks = tokio::time::interval(renew_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(_) = under_way.join_next() => continue,
            }
            if under_way.len() >= MOST_UNDER_WAY {
                continue;
            }
            let position = *self.position.lock().unwrap_or_else(PoisonError::into_inner);
            let renewal = Renewal { service: service.clone(), epoch: wanted.epoch, position };
            let (keeper, controllers) = (Arc::clone(self), controllers.clone());
            under_way.spawn(async move {
                let sent_ns = now_ns();
                match controllers.renew(renewal, ttl).await {
                    Some(Renewed::Granted) => keeper.granted(wanted, sent_ns).await,
                    Some(Renewed::Refused { why }) => {
                        tracing::warn!(epoch = %wanted.epoch, why, "lease refused")
                    }
                    None => tracing::debug!(epoch = %wanted.epoch, "a renewal was not answered"),
                }
            });
        }
    }

    async fn granted(&self, wanted: Wanted, sent_ns: u64) {
        let after = guard_after(wanted.timings.ttl, wanted.timings.fence_budget);
        let held = Held { epoch: wanted.epoch, deadline_ns: sent_ns + after.as_nanos() as u64 };
        let is_later = self.held.send_if_modified(|before| {
            let later = before.is_none_or(|before| {
                before.epoch < held.epoch
                    || before.epoch == held.epoch && before.deadline_ns < held.deadline_ns
            });
            if later {
                *before = Some(held);
            }
            later
        });
        let guard = self.armed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (true, Some(guard)) = (is_later, guard) {
            // The guard refuses what would move its deadline back, or revive what it has begun to fence.
            if let Err(error) = guard.lease(held.for_guard()).await {
                tracing::warn!(%error, epoch = %held.epoch, "the guard did not take the lease");
            }
        }
    }
}
