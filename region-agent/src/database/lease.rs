//! Keeps the lease of one database while it is wanted. The deadline counts from the moment a
//! renewal was *sent* (S1), on the clock that the guard counts by, which goes on while the machine
//! sleeps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::config::LeaseTimings;
use decision::database::Position;
use decision::database::lease::{Held, Wanted, guard_after};
use decision::goal::DatabaseGoal;
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use decision::time::Uptime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use wire::connect::{ChannelOptions, channel};
use wire::host::Host;
use wire::lease::{Renewal, Renewed};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::peers_client::PeersClient;
use wire::tls::{Credentials, Expect};

use super::controllers::Controllers;
use crate::guard::client::Guard;
use crate::guard::now;

/// Renewals under way at once: past it, their answers would come too late anyway.
const MOST_UNDER_WAY: usize = 8;

#[derive(Default)]
struct Peers {
    wanted: Option<BTreeMap<AgentId, String>>,
    clients: Option<BTreeMap<AgentId, PeersClient<Channel>>>,
    /// Of every instance that is known.
    regions: Vec<String>,
}

/// Shared by the keeper of the instance and the renewals.
pub(super) struct LeaseKeeper {
    wanted: watch::Sender<Option<Wanted>>,
    held: watch::Sender<Option<Held>>,
    /// The guard counts: each renewal is told to it.
    armed: Mutex<Option<Guard>>,
    /// What the primary had written, and when.
    position: Mutex<Option<(Position, Uptime)>>,
    /// In failsafe mode: whom to ask when no controller answers; an error when one has no address.
    peers: Mutex<Peers>,
}

impl LeaseKeeper {
    pub(super) fn new() -> Arc<LeaseKeeper> {
        Arc::new(LeaseKeeper {
            wanted: watch::Sender::new(None),
            held: watch::Sender::new(None),
            armed: Mutex::default(),
            position: Mutex::default(),
            peers: Mutex::default(),
        })
    }

    pub(super) fn want(&self, wanted: Option<Wanted>) {
        let changed = self.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        if !changed {
            return;
        }
        let first = wanted.and_then(|wanted| wanted.first());
        self.held.send_modify(|held| {
            if held.map(|held| held.epoch) != wanted.map(|wanted| wanted.epoch) {
                *held = first;
            }
        });
    }

    /// What is held of this epoch, if it is not over.
    pub(super) fn held(&self, epoch: Epoch) -> Option<Held> {
        self.held.borrow().filter(|held| held.epoch == epoch && !held.left(now()).is_zero())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    /// From now on renewals are told to the guard.
    pub(super) fn arm(&self, guard: Option<Guard>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = guard;
    }

    pub(super) fn note(&self, position: Option<(Position, Uptime)>) {
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
            let told = *self.position.lock().unwrap_or_else(PoisonError::into_inner);
            let renewal = Renewal {
                service: service.clone(),
                epoch: wanted.epoch,
                position: told.map(|(position, _)| position),
                age: told.map_or(Duration::ZERO, |(_, at)| now().since(at)),
            };
            let (keeper, controllers) = (Arc::clone(self), controllers.clone());
            under_way.spawn(async move {
                let sent = now();
                let service = renewal.service.clone();
                let asking = controllers.renew(renewal, ttl);
                tokio::pin!(asking);
                // An answer counts however late it comes; but others must be asked in time.
                let answer = match tokio::time::timeout(ttl / 4, &mut asking).await {
                    Ok(answer) => answer,
                    Err(_) => tokio::join!(asking, keeper.ask_for_promises(&service, wanted)).0,
                };
                match answer {
                    Some(Renewed::Granted) => keeper.granted(wanted, sent).await,
                    Some(Renewed::Refused { why }) => {
                        tracing::warn!(epoch = %wanted.epoch, why, "lease refused")
                    }
                    None => tracing::debug!(epoch = %wanted.epoch, "a renewal was not answered"),
                }
            });
        }
    }

    /// Failsafe mode: all the others, afresh, or it does not count.
    async fn ask_for_promises(&self, service: &ServiceName, wanted: Wanted) {
        let (peers, regions) = {
            let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            (peers.clients.clone(), peers.regions.clone())
        };
        let Some(peers) = peers else { return };
        let sent = now();
        let ttl = wanted.timings.ttl;
        let asked = peers.into_values().map(|mut client| {
            let request = pb::PromiseRequest {
                service: service.0.clone(),
                epoch: wanted.epoch.0,
                ttl_ms: ttl.as_millis() as u64,
                regions: regions.clone(),
            };
            async move { client.promise(request).await.is_ok_and(|reply| reply.into_inner().promised) }
        });
        let all = tokio::time::timeout(ttl, futures::future::join_all(asked)).await;
        if all.is_ok_and(|promised| promised.into_iter().all(|promised| promised)) {
            tracing::warn!(epoch = %wanted.epoch, "no controller answers: going on by the promise of all other agents");
            self.granted(wanted, sent).await;
        }
    }

    /// Whom the goal names, where failsafe is on and each of them can be asked.
    pub(super) fn ask_peers(&self, host: &Host, credentials: &Credentials, goal: &DatabaseGoal) {
        let wanted: Option<BTreeMap<AgentId, String>> = match goal.wished.failsafe {
            true => goal.peers.iter().map(|(agent, at)| Some((agent.clone(), at.clone()?))).collect(),
            false => None,
        };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.regions = goal.wished.instances.keys().map(|region| region.0.clone()).collect();
        if peers.wanted == wanted {
            return;
        }
        let options = ChannelOptions {
            connect_timeout: goal.wished.lease.ttl,
            keepalive_interval: goal.wished.lease.ttl,
            keepalive_timeout: goal.wished.lease.ttl,
        };
        peers.clients = wanted.as_ref().map(|wanted| {
            let client = |(agent, address): (&AgentId, &String)| {
                let expect = Expect::Agent(agent.clone());
                (agent.clone(), PeersClient::new(channel(host, credentials, address, expect, options)))
            };
            wanted.iter().map(client).collect()
        });
        peers.wanted = wanted;
    }

    async fn granted(&self, wanted: Wanted, sent: Uptime) {
        let held = wanted.granted(sent);
        let took = now().since(sent);
        let left = self.held(wanted.epoch).map_or(Duration::ZERO, |held| held.left(now()));
        let after = guard_after(wanted.timings.ttl, wanted.timings.fence_budget);
        if left < after / 3 {
            tracing::warn!(
                epoch = %wanted.epoch, took_ms = took.as_millis() as u64, left_ms = left.as_millis() as u64,
                "the lease was renewed late"
            );
        }
        let is_later = self.held.send_if_modified(|before| {
            let later = held.is_after(*before);
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
