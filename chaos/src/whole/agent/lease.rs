//! The lease of the database: renewed at every controller at once, and counted from when each renewal was sent (S1).

use std::time::Duration;

use decision::database::Position;
use decision::database::lease::{Held, Wanted};
use decision::name::ServiceName;
use decision::time::Uptime;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use wire::lease::{Renewal, Renewed};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::agents_client::AgentsClient;

use super::Life;
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
        let clients = life.clients();
        let mut wants = self.wanted.subscribe();
        loop {
            let wanted = *wants.borrow_and_update();
            tokio::select! {
                biased;
                changed = wants.changed() => if changed.is_err() { return },
                () = async {
                    match wanted {
                        Some(wanted) => self.renews(life, service, &clients, wanted).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    async fn renews(
        &self,
        life: &Life,
        service: &ServiceName,
        clients: &[AgentsClient<Channel>],
        wanted: Wanted,
    ) {
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
            let (lease, life, clients) = (self.clone(), life.clone(), clients.to_vec());
            let region = life.region();
            let position = Some(life.ground.truth().copies[region].position);
            let renewal = renewal(service, wanted, position);
            under_way.spawn(async move {
                let sent = life.ground.now();
                if asks(clients, renewal, wanted.timings.ttl).await == Some(Renewed::Granted) {
                    lease.granted(&life, wanted, sent);
                }
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
        let until = Moment(held.deadline.0);
        let may = life.ground.truth().writers.may_write(&life.id.region, wanted.epoch, now, until);
        if let Err(detail) = may {
            life.ground.finds("S1", detail);
        }
    }
}

fn renewal(service: &ServiceName, wanted: Wanted, position: Option<Position>) -> Renewal {
    Renewal { service: service.clone(), epoch: wanted.epoch, position, age: Duration::ZERO }
}

/// The first that is sure decides.
async fn asks(clients: Vec<AgentsClient<Channel>>, renewal: Renewal, within: Duration) -> Option<Renewed> {
    let call = |mut client: AgentsClient<Channel>| {
        let request = pb::RenewRequest::from(renewal.clone());
        async move { client.renew(request).await }
    };
    let mut calls: FuturesUnordered<_> = clients.into_iter().map(call).collect();
    let answer = async {
        let mut refused = None;
        while let Some(reply) = calls.next().await {
            match reply.map(|reply| Renewed::from(reply.into_inner())) {
                Ok(Renewed::Granted) => return Some(Renewed::Granted),
                Ok(no) => refused = Some(no),
                Err(_) => {}
            }
        }
        refused
    };
    tokio::time::timeout(within, answer).await.ok().flatten()
}
