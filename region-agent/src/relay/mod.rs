//! Where the clients of a region reach a database, whoever holds it: each agent relays them to the
//! instance that may take writes, or for those who only read to the nearest that is fresh.
//!
//! The goal in force says who that is, also one from disk: without a controller, clients are served
//! as before. When the writer changes, all who were relayed to the old one are cut off at once, and
//! those who come before there is a new one wait for it, so that a switchover costs them a pause.

mod aim;
mod connection;
mod endpoint;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use decision::goal::DatabaseGoal;
use decision::name::{AgentId, ServiceName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wire::host::Network;

use aim::Aim;
use connection::Shared;

use crate::goals::Held;
use crate::instances::Instances;
use crate::metrics::Metrics;

/// How often it is seen that an instance was not looked at for long.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub struct Relay {
    pub agent: AgentId,
    pub network: Arc<dyn Network>,
    pub instances: Arc<Instances>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// Bounds of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Further clients are refused.
    pub connections: usize,
    /// Of these, such that nobody can serve yet.
    pub waiting: usize,
    /// Longest that a client waits to be served.
    pub patience: Duration,
    /// For one try to reach an instance.
    pub connect_within: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 2_000,
            waiting: 1_000,
            patience: Duration::from_secs(10),
            connect_within: Duration::from_secs(1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Write,
    Read,
}

/// Of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    service: ServiceName,
    kind: Kind,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Write => "write",
            Kind::Read => "read",
        };
        write!(f, "{}/{kind}", self.service)
    }
}

struct Running {
    address: String,
    aim: watch::Sender<Aim>,
    stop: CancellationToken,
}

/// Listens where the goal in force says, until `stop`.
pub async fn run(relay: Relay, mut goals: watch::Receiver<Arc<Held>>, stop: CancellationToken) {
    let mut seen = relay.instances.watch();
    let mut endpoints =
        Endpoints { relay, newest: BTreeMap::new(), running: BTreeMap::new(), tasks: JoinSet::new() };
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let held = Arc::clone(&goals.borrow_and_update());
        seen.mark_unchanged();
        endpoints.take(&held.goal.databases);
        endpoints.aim(&stop);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = goals.changed() => if changed.is_err() { break },
            Some(ended) = endpoints.tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an endpoint of a database failed");
                    return;
                }
            }
            changed = seen.changed() => if changed.is_err() { break },
            _ = ticks.tick() => {}
        }
    }
    let Endpoints { running, mut tasks, .. } = endpoints;
    for endpoint in running.values() {
        endpoint.stop.cancel();
    }
    while tasks.join_next().await.is_some() {}
}

struct Endpoints {
    relay: Relay,
    /// The goals that are followed; S2: never one of an older epoch again.
    newest: BTreeMap<ServiceName, DatabaseGoal>,
    running: BTreeMap<Name, Running>,
    tasks: JoinSet<()>,
}

impl Endpoints {
    fn take(&mut self, goals: &[DatabaseGoal]) {
        self.newest.retain(|service, _| goals.iter().any(|goal| goal.service == *service));
        for goal in goals {
            match self.newest.get_mut(&goal.service) {
                Some(before) if !aim::may_follow(before, goal) => {
                    tracing::debug!(service = %goal.service, given = %goal.epoch, held = %before.epoch,
                        "a goal that would bring an older writer back is not followed");
                }
                Some(before) => before.clone_from(goal),
                None => {
                    self.newest.insert(goal.service.clone(), goal.clone());
                }
            }
        }
    }

    /// Brings what listens, and whom it leads to, to what the goals say.
    fn aim(&mut self, stop: &CancellationToken) {
        let own = &self.relay.agent.region;
        let mut wished = BTreeMap::new();
        for goal in self.newest.values() {
            let Some(instance) = goal.wished.instances.get(own) else { continue };
            let standing = self.relay.instances.standing(&goal.service);
            let mut wish = |kind, address: &Option<String>, aim: fn(_, _, _) -> Aim| {
                if let Some(address) = address {
                    let name = Name { service: goal.service.clone(), kind };
                    wished.insert(name, (address.clone(), aim(goal, own, standing.as_ref())));
                }
            };
            wish(Kind::Write, &instance.write_endpoint, aim::write);
            wish(Kind::Read, &instance.read_endpoint, aim::read);
        }
        self.running.retain(|name, running| {
            let stays = wished.get(name).is_some_and(|(address, _)| *address == running.address);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for (name, (address, aim)) in wished {
            if let Some(running) = self.running.get(&name) {
                running.aim.send_if_modified(|before| {
                    let is_new = *before != aim;
                    *before = aim;
                    is_new
                });
                continue;
            }
            let (sender, aims) = watch::channel(aim);
            let stop = stop.child_token();
            let Relay { network, metrics, limits, .. } = &self.relay;
            let shared = Shared::new(Arc::clone(network), Arc::clone(metrics), *limits);
            self.tasks.spawn(endpoint::run(name.clone(), address.clone(), aims, shared, stop.clone()));
            self.running.insert(name, Running { address, aim: sender, stop });
        }
    }
}
