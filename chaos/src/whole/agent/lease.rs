//! The lease of the database: renewed at every controller at once, and counted from when each renewal was sent (S1).

use std::time::Duration;

use decision::database::lease::{Held, Wanted};
use decision::name::ServiceName;
use decision::time::Uptime;
use region_agent::database::controllers::Controllers;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::lease::{Renewal, Renewed};

use super::Life;
use crate::sim::planted::Around;
use crate::sim::queue::Moment;

const MOST_UNDER_WAY: usize = 8;
const GRANTED: u64 = 7;

#[derive(Clone)]
pub struct Lease {
    pub wanted: watch::Sender<Option<Wanted>>,
    held: watch::Sender<Option<Held>>,
}

impl Lease {
    pub fn new() -> Lease {
        Lease { wanted: watch::Sender::new(None), held: watch::Sender::new(None) }
    }

    pub fn want(&self, wanted: Option<Wanted>) {
        self.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
    }

    pub fn is_held(&self, wanted: &Wanted, now: Moment) -> bool {
        let held = *self.held.borrow();
        held.is_some_and(|held| held.epoch == wanted.epoch && !held.left(Uptime(now.0)).is_zero())
    }

    /// As long as it is wanted.
    pub async fn keeps(&self, life: &Life, service: &ServiceName) {
        let controllers = life.controllers();
        let mut wants = self.wanted.subscribe();
        loop {
            let wanted = *wants.borrow_and_update();
            tokio::select! {
                biased;
                changed = wants.changed() => if changed.is_err() { return },
                () = async {
                    match wanted {
                        Some(wanted) => self.renews(life, service, &controllers, wanted).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    async fn renews(&self, life: &Life, service: &ServiceName, controllers: &Controllers, wanted: Wanted) {
        let mut ticks = tokio::time::interval(wanted.timings.renew_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = under_way.join_next() => continue,
                _ = ticks.tick() => {}
            }
            if under_way.len() >= MOST_UNDER_WAY {
                continue;
            }
            let (lease, life, controllers) = (self.clone(), life.clone(), controllers.clone());
            let region = life.region();
            let position = Some(life.ground.truth().copies[region].position);
            let renewal =
                Renewal { service: service.clone(), epoch: wanted.epoch, position, age: Duration::ZERO };
            under_way.spawn(async move {
                let sent = life.ground.now();
                if controllers.renew(renewal, wanted.timings.ttl).await != Some(Renewed::Granted) {
                    return;
                }
                lease.granted(&life, wanted, sent);
            });
        }
    }

    fn granted(&self, life: &Life, wanted: Wanted, sent: Moment) {
        let now = life.ground.now();
        let held = wanted.granted(Uptime(sent.0));
        let is_later = self.held.send_if_modified(|before| {
            let later = held.is_after(*before);
            *before = if later { Some(held) } else { *before };
            later
        });
        // One that is wanted no more, or comes when its server was ended, begins nothing.
        if !is_later || self.wanted.borrow().map(|wanted| wanted.epoch) != Some(wanted.epoch) {
            return;
        }
        life.ground.happens(GRANTED, life.machine, wanted.epoch.0);
        let until = match life.ground.has(Around::PromotesUnguarded) {
            true => Moment(u64::MAX),
            false => sent + wanted.timings.ttl,
        };
        let may = life.ground.truth().writers.may_write(&life.id.region, wanted.epoch, now, until);
        if let Err(detail) = may {
            life.ground.finds("S1", detail);
        }
    }
}
