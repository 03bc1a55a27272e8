//! Failsafe mode: when no controller answers, a primary may go on as long as every other agent of its service
//! promises that it takes no writes at a newer epoch meanwhile. S1: see `docs/FENCING.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lease::span;
use crate::goal::DatabaseGoal;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::time::Uptime;

/// Nobody binds us for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// What a primary asks of each other agent of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub from: AgentId,
    pub service: ServiceName,
    pub epoch: Epoch,
    pub ttl: Duration,
    /// All whom it asks, and its own.
    pub regions: BTreeSet<RegionName>,
}

/// That nothing newer than this epoch takes writes here.
#[derive(Clone, Copy, Debug)]
struct Promise {
    epoch: Epoch,
    until: Uptime,
}

/// What was promised to others, by this process.
#[derive(Clone, Debug)]
pub struct Promises {
    given: BTreeMap<ServiceName, Promise>,
    /// One that ran before may have promised just as much.
    born: Uptime,
}

impl Promises {
    pub fn new(born: Uptime) -> Self {
        Promises { given: BTreeMap::new(), born }
    }

    /// Whether writes at `epoch` would break a promise: of this process, however the mode is by now, or where
    /// it is on of one before it. `failsafe`: the lease's length, where it is on.
    pub fn forbids(
        &self,
        service: &ServiceName,
        epoch: Epoch,
        failsafe: Option<Duration>,
        now: Uptime,
    ) -> bool {
        if planted::has(Bug::PromisesBroken) {
            return false;
        }
        let may_be_forgotten =
            !planted::has(Bug::PromisesForgotten) && failsafe.is_some_and(|ttl| now < self.born + span(ttl));
        let promise = self.given.get(service);
        may_be_forgotten || promise.is_some_and(|promise| promise.epoch < epoch && now < promise.until)
    }

    /// Until when a primary may go on by what was promised here. `noted`: the newest epoch for which anything was, as
    /// the disk tells that outlives this process.
    pub fn end(&self, goal: &DatabaseGoal, noted: Option<Epoch>) -> Option<Uptime> {
        // Whoever has begun since began after it.
        let begun = goal.history.last().map(|branch| branch.epoch);
        let forgotten = noted.filter(|_| noted >= begun).map(|_| self.born + span(goal.wished.lease.ttl));
        self.given.get(&goal.service).map(|promise| promise.until).max(forgotten)
    }

    /// # Errors
    /// Why it would not be promised.
    pub fn may_give(&self, request: &Request, goal: Option<&DatabaseGoal>) -> Result<(), String> {
        if let Some(held) = self.given.get(&request.service).filter(|held| request.epoch < held.epoch) {
            return Err(format!("epoch {} is known here", held.epoch));
        }
        may_promise(request, goal)
    }

    /// `goal`: what is known here of the database, now.
    ///
    /// # Errors
    /// Why it is not promised. Then nothing binds: one that asks in vain must not hold up its successor.
    pub fn give(
        &mut self,
        request: &Request,
        goal: Option<&DatabaseGoal>,
        now: Uptime,
    ) -> Result<(), String> {
        let Request { service, epoch, ttl, .. } = request;
        self.may_give(request, goal)?;
        let before = self.given.get(service).copied();
        let until = now + span(LONGEST.min(*ttl));
        let until = before.map_or(until, |held| held.until.max(until));
        self.given.insert(service.clone(), Promise { epoch: *epoch, until });
        Ok(())
    }
}

/// Not when we know of a newer epoch, or the mode is off here.
fn may_promise(request: &Request, goal: Option<&DatabaseGoal>) -> Result<(), String> {
    let Request { from, epoch, regions, .. } = request;
    let goal = goal.ok_or("nothing is known of that database here")?;
    if !goal.wished.failsafe {
        return Err("failsafe is off".to_owned());
    }
    // S1: what nobody asks may be granted the lease.
    if let Some(unasked) = goal.wished.instances.keys().find(|region| !regions.contains(*region)) {
        return Err(format!("{unasked} has an instance that {from} does not know of"));
    }
    if goal.epoch > *epoch {
        return Err(format!("epoch {} is known here", goal.epoch));
    }
    if goal.epoch == *epoch && goal.writer.as_ref() != Some(&from.region) {
        return Err(format!("{} does not hold epoch {epoch}", from.region));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::goal;
    use crate::testing::{World, three_regions, with_database};

    const TTL: Duration = Duration::from_secs(1);
    const NOW: Uptime = Uptime(10_000_000_000);

    /// What `ap` is told of the database of `app`, which `us` holds.
    fn goal(failsafe: bool) -> DatabaseGoal {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let world = World::new(config);
        let mut goal = goal::of_agent(&world.state, &AgentId::new("ap", 1)).databases.remove(0);
        goal.wished.failsafe = failsafe;
        goal
    }

    fn request(goal: &DatabaseGoal, from: &str, epoch: Epoch) -> Request {
        let regions = goal.wished.instances.keys().cloned().collect();
        Request { from: AgentId::new(from, 1), service: goal.service.clone(), epoch, ttl: TTL, regions }
    }

    fn give(promises: &mut Promises, goal: &DatabaseGoal, from: &str, epoch: Epoch) -> Result<(), String> {
        promises.give(&request(goal, from, epoch), Some(goal), NOW)
    }

    #[test]
    fn it_is_given_to_the_holder_alone_and_whoever_asks_in_vain_binds_nobody() {
        let (goal, mut promises) = (goal(true), Promises::new(Uptime(0)));
        let (now, older) = (goal.epoch, Epoch(goal.epoch.0 - 1));
        let newer = DatabaseGoal { epoch: Epoch(now.0 + 1), ..goal.clone() };
        let off = DatabaseGoal { wished: self::goal(false).wished, ..goal.clone() };
        for (goal, from, epoch) in
            [(&goal, "eu", now), (&goal, "us", older), (&newer, "us", now), (&off, "us", now)]
        {
            assert!(give(&mut promises, goal, from, epoch).is_err(), "{from} {epoch}");
        }
        let mut some = request(&goal, "us", now);
        assert!(promises.give(&some, None, NOW).is_err(), "nothing is known of it");
        some.regions.remove(&"eu".into());
        assert!(promises.give(&some, Some(&goal), NOW).is_err(), "eu is not asked");
        let next = Epoch(now.0 + 1);
        assert!(!promises.forbids(&goal.service, next, None, NOW));
        give(&mut promises, &goal, "us", now).unwrap();
        assert!(promises.forbids(&goal.service, next, None, NOW));
        // What was promised stays, whoever asks in vain after it.
        assert!(give(&mut promises, &off, "us", now).is_err());
        assert!(promises.forbids(&goal.service, next, None, NOW));
    }

    #[test]
    fn it_binds_for_as_long_as_the_asker_may_count_it_and_no_longer() {
        let (goal, mut promises) = (goal(true), Promises::new(Uptime(0)));
        give(&mut promises, &goal, "us", goal.epoch).unwrap();
        assert_eq!(promises.end(&goal, None), Some(NOW + span(TTL)));
        let (app, next) = (&goal.service, Epoch(goal.epoch.0 + 1));
        assert!(promises.forbids(app, next, None, NOW + TTL));
        assert!(!promises.forbids(app, goal.epoch, None, NOW), "the one that asked");
        assert!(!promises.forbids(app, next, None, NOW + span(TTL)));
        assert!(!promises.forbids(&"shop".into(), next, None, NOW));
    }

    #[test]
    fn a_process_before_this_one_may_have_promised() {
        let (promises, goal) = (Promises::new(NOW), goal(true));
        let until = NOW + span(goal.wished.lease.ttl);
        assert_eq!(promises.end(&goal, Some(goal.epoch)), Some(until));
        assert_eq!(promises.end(&goal, None), None, "it surely did not");
        let begun = goal.history.last().unwrap().epoch;
        assert_eq!(promises.end(&goal, Some(Epoch(begun.0 - 1))), None, "another has begun since");
        let forbids = |failsafe, now| promises.forbids(&"app".into(), Epoch(9), failsafe, now);
        assert!(forbids(Some(TTL), NOW + TTL));
        assert!(!forbids(Some(TTL), NOW + span(TTL)));
        assert!(!forbids(None, NOW));
    }
}
