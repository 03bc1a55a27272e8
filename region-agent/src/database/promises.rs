//! Failsafe mode: when no controller answers, a primary may go on as long as every other agent of
//! its service promises that it takes no writes at a newer epoch meanwhile. S1: see `docs/FENCING.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use decision::database::lease::span;
use decision::name::{AgentId, RegionName, ServiceName};
use decision::plan::Epoch;
use tonic::{Request, Response, Status};
use wire::identity::Identity;
use wire::listen::Peer;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::peers_server;

use crate::goals::Goals;
use crate::guard::now_ns;

/// Nobody binds us for longer.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promise {
    epoch: Epoch,
    until_ns: u64,
}

/// What was promised to others, by this process.
pub struct Promises {
    given: Mutex<BTreeMap<ServiceName, Promise>>,
    /// One that ran before may have promised just as much.
    born_ns: u64,
}

impl Default for Promises {
    fn default() -> Self {
        Promises { given: Mutex::default(), born_ns: now_ns() }
    }
}

impl Promises {
    /// Whether writes at `epoch` would break a promise: of this process, however the mode is by now, or where
    /// it is on of one before it.
    pub(super) fn forbids(&self, service: &ServiceName, epoch: Epoch, failsafe: Option<Duration>) -> bool {
        let now = now_ns();
        let may_be_forgotten = failsafe.is_some_and(|ttl| now < self.born_ns + span(ttl).as_nanos() as u64);
        let promise = self.lock().get(service).copied();
        may_be_forgotten || promise.is_some_and(|promise| promise.epoch < epoch && now < promise.until_ns)
    }

    /// Refused with the reason when we know of a newer epoch, or the mode is off here.
    fn give(
        &self,
        goals: &Goals,
        from: &AgentId,
        service: &ServiceName,
        epoch: Epoch,
        ttl: Duration,
        regions: &BTreeSet<RegionName>,
    ) -> Result<(), String> {
        let until_ns = now_ns() + span(ttl.min(LONGEST)).as_nanos() as u64;
        // First the promise, then the look: a goal that comes in between finds itself bound by it.
        let before = {
            let mut given = self.lock();
            let before = given.get(service).copied();
            if let Some(held) = before.filter(|held| epoch < held.epoch) {
                return Err(format!("epoch {} is known here", held.epoch));
            }
            let until_ns = before.map_or(until_ns, |held| held.until_ns.max(until_ns));
            given.insert(service.clone(), Promise { epoch, until_ns });
            before
        };
        let answer = may_promise(goals, from, service, epoch, regions);
        if answer.is_err() {
            // Nothing was promised, so nothing binds: one that asks in vain must not hold up its successor.
            let mut given = self.lock();
            match before {
                Some(before) => given.insert(service.clone(), before),
                None => given.remove(service),
            };
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Promise>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_promise(
    goals: &Goals,
    from: &AgentId,
    service: &ServiceName,
    epoch: Epoch,
    regions: &BTreeSet<RegionName>,
) -> Result<(), String> {
    let held = goals.held();
    let goal = held.goal.databases.iter().find(|goal| goal.service == *service);
    let goal = goal.ok_or("nothing is known of that database here")?;
    if !goal.wished.failsafe {
        return Err("failsafe is off".to_owned());
    }
    // S1: what nobody asks may be granted the lease.
    if let Some(unasked) = goal.wished.instances.keys().find(|region| !regions.contains(*region)) {
        return Err(format!("{unasked} has an instance that {from} does not know of"));
    }
    if goal.epoch > epoch {
        return Err(format!("epoch {} is known here", goal.epoch));
    }
    if goal.epoch == epoch && goal.writer.as_ref() != Some(&from.region) {
        return Err(format!("{} does not hold epoch {epoch}", from.region));
    }
    Ok(())
}

/// Where other agents ask.
pub struct Asked {
    pub promises: Arc<Promises>,
    pub goals: Arc<Goals>,
}

#[tonic::async_trait]
impl peers_server::Peers for Asked {
    async fn promise(
        &self,
        request: Request<pb::PromiseRequest>,
    ) -> Result<Response<pb::PromiseReply>, Status> {
        let caller = request.extensions().get::<Peer>().map(|peer| peer.id.identity.clone());
        let Some(Identity::Agent(from)) = caller else {
            return Err(Status::permission_denied("only an agent is promised anything"));
        };
        let pb::PromiseRequest { service, epoch, ttl_ms, regions } = request.into_inner();
        let regions = regions.into_iter().map(RegionName).collect();
        let (service, ttl) = (ServiceName(service), Duration::from_millis(ttl_ms));
        let given = self.promises.give(&self.goals, &from, &service, Epoch(epoch), ttl, &regions);
        if let Err(why) = &given {
            tracing::info!(%from, %service, epoch, why, "no promise given");
        }
        let why = given.err();
        Ok(Response::new(pb::PromiseReply { promised: why.is_none(), why: why.unwrap_or_default() }))
    }
}

#[cfg(test)]
mod tests {
    use decision::goal::Goal;

    use super::*;
    use crate::relay::tests::goal;

    fn goals(writer: &str, epoch: u64, failsafe: bool) -> Goals {
        let mut database = goal(Some(writer), epoch);
        database.wished.failsafe = failsafe;
        Goals::new(Some(Goal { databases: vec![database], ..Goal::default() }))
    }

    #[test]
    fn a_promise_is_given_to_the_holder_alone_and_binds_newer_epochs() {
        let promises = Promises { given: Mutex::default(), born_ns: 0 };
        let all: BTreeSet<RegionName> =
            goals("us", 3, true).held().goal.databases[0].wished.instances.keys().cloned().collect();
        let ask_for = |goals: &Goals, from: &str, epoch: u64, regions: &BTreeSet<RegionName>| {
            let (from, ttl) = (AgentId::new(from, 1), Duration::from_secs(60));
            promises.give(goals, &from, &"app".into(), Epoch(epoch), ttl, regions)
        };
        let ask = |goals: &Goals, from: &str, epoch: u64| ask_for(goals, from, epoch, &all);
        let forbids = |epoch| promises.forbids(&"app".into(), Epoch(epoch), None);
        assert!(!forbids(4));
        assert!(ask(&goals("us", 3, false), "us", 3).is_err(), "the mode is off");
        assert!(ask(&goals("us", 4, true), "us", 3).is_err(), "a newer epoch is known");
        assert!(!forbids(4), "who asks in vain holds nobody up");
        assert!(ask(&goals("us", 3, true), "eu", 3).is_err(), "another holds it");
        let some = all.iter().skip(1).cloned().collect();
        assert!(ask_for(&goals("us", 3, true), "us", 3, &some).is_err(), "one is not asked");
        assert!(!forbids(4));
        assert_eq!(ask(&goals("us", 3, true), "us", 3), Ok(()));
        assert!(forbids(4) && !forbids(3));
        assert!(ask(&goals("us", 3, true), "us", 2).is_err());
    }

    #[test]
    fn a_process_that_just_began_may_have_promised_before() {
        let promises = Promises::default();
        assert!(promises.forbids(&"app".into(), Epoch(1), Some(Duration::from_secs(60))));
        assert!(!promises.forbids(&"app".into(), Epoch(1), None), "the mode is off");
    }
}
