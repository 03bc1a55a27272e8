//! Turns a wish into a whole plan.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{Config, DnsProvider};
use crate::database::{Loss, lease};
use crate::dns::RecordSet;
use crate::name::{DnsName, RegionName, ServiceName};
use crate::plan::{Action, Epoch, Executor, Kind, OnFailure, Parent, Plan, Step, StepId};
use crate::planted::{self, Bug};
use crate::records::{Spread, of_service};
use crate::state::State;

const DNS_TIMEOUT: Duration = Duration::from_secs(10);
const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// To shut a database down in order, after a checkpoint; past it the old primary goes on.
const FENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// A plan must not stay open for long: where it moved nothing another region is tried, and what is left to tell is told
/// by a plan that gives way to others.
const ATTEMPTS: u32 = 5;
/// Beyond the lease, for the entries in the log.
const FENCE_SPARE: Duration = Duration::from_secs(5);
/// The agent gives the lease back before, if it cannot; or the lease expires.
const PROMOTE_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) struct Wish<'a> {
    pub(super) kind: Kind,
    pub(super) service: &'a ServiceName,
    pub(super) from: &'a RegionName,
    pub(super) to: &'a RegionName,
    pub(super) automatic: bool,
    pub(super) needs_approval: bool,
    pub(super) reason: String,
    pub(super) loss: Option<Loss>,
    pub(super) accepts_loss: bool,
    /// Whoever writes is ended at once, not in order.
    pub(super) at_once: bool,
}

/// `None` when the service is not placed.
pub(super) fn plan(config: &Config, state: &State, wish: Wish) -> Option<Plan> {
    let epoch = state.services.get(wish.service)?.epoch;
    let steps = steps(config, state, &wish)?;
    Some(Plan {
        id: state.next_plan(),
        kind: wish.kind,
        service: wish.service.clone(),
        from: wish.from.clone(),
        to: wish.to.clone(),
        parent: Parent { epoch, config_generation: state.config_generation },
        epoch: Epoch(epoch.0 + 1),
        automatic: wish.automatic,
        needs_approval: wish.needs_approval,
        reason: wish.reason,
        steps,
        loss: wish.loss,
        accepts_loss: wish.accepts_loss,
    })
}

fn steps(config: &Config, state: &State, wish: &Wish) -> Option<Vec<Step>> {
    let placement = state.services.get(wish.service)?;
    let mut left_out = placement.left_out.clone();
    let primary = match wish.kind {
        Kind::Withdraw => {
            left_out.insert(wish.from.clone());
            &placement.primary
        }
        Kind::Restore => {
            left_out.remove(wish.to);
            &placement.primary
        }
        Kind::Failover => {
            left_out.remove(wish.to);
            left_out.insert(wish.from.clone());
            wish.to
        }
        Kind::Publish | Kind::Recover => &placement.primary,
        Kind::Switchover | Kind::Failback => {
            left_out.remove(wish.to);
            wish.to
        }
    };
    let mut list = List::default();
    let writes_move = list.move_database(state, wish);
    if planted::has(Bug::NamesBeforePromotion) {
        list.after.clear();
    }
    for share in stages(config, wish, writes_move) {
        let spread = Spread { primary, left_out: &left_out, leaving: Some((wish.from, 100 - share)) };
        let staged: Vec<_> = of_service(config, wish.service, &spread)
            .into_iter()
            .filter(|(zone, _)| provider(config, zone) == Some(&DnsProvider::Embedded))
            .map(|(zone, set)| (zone, shared(set, wish)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        // Only Regent's own servers draw by weight; elsewhere there is nothing to wait for.
        if staged.is_empty() {
            break;
        }
        for (zone, set) in staged {
            list.shift(wish, zone, DnsProvider::Embedded, set, false);
        }
        list.settle(config.strategy.gradual_shift.pause);
    }
    let final_spread = Spread { primary, left_out: &left_out, leaving: None };
    let mut finals = of_service(config, wish.service, &final_spread);
    if wish.kind == Kind::Recover {
        finals.clear();
    }
    if wish.kind == Kind::Publish {
        finals.retain(|zone, _| provider(config, zone) != Some(&DnsProvider::Embedded));
    }
    if finals.is_empty() && !writes_move {
        // Nothing in DNS names it; the log entry alone is the move.
        list.settle_as_move();
    }
    let mut verify = Vec::new();
    for (n, (zone, set)) in std::mem::take(&mut finals).into_iter().enumerate() {
        let provider = provider(config, &zone)?.clone();
        verify.push((zone.clone(), provider.clone(), set.clone()));
        list.shift(wish, zone, provider, set, n == 0 && !writes_move);
    }
    list.barrier();
    for (zone, provider, set) in verify {
        list.verify_dns(wish, state, zone, &provider, set);
    }
    if writes_move {
        list.verify_write(config, state, wish);
    }
    list.verify_service(config, state, wish);
    Some(list.steps)
}

/// The record sets that both regions answer for during a stage.
fn shared(mut set: Vec<RecordSet>, wish: &Wish) -> Vec<RecordSet> {
    set.retain(|set| {
        let has = |region: &RegionName| set.groups.iter().any(|group| group.region == *region);
        set.groups.len() == 2 && has(wish.from) && has(wish.to)
    });
    set
}

fn provider<'a>(config: &'a Config, zone: &DnsName) -> Option<&'a DnsProvider> {
    config.zones.get(zone).map(|zone| &zone.provider)
}

/// The shares at the target before it has all: only in a planned move to a smaller region.
fn stages(config: &Config, wish: &Wish, writes_move: bool) -> Vec<u8> {
    let planned = matches!(wish.kind, Kind::Switchover | Kind::Failback);
    let capacity = |name| config.region(name).map_or(0, |region| region.capacity_percent);
    // Writes are in one place or in the other.
    if writes_move || !planned || capacity(wish.to) >= capacity(wish.from) {
        return Vec::new();
    }
    config
        .strategy
        .gradual_shift
        .stages_percent
        .iter()
        .copied()
        .filter(|share| (1..100).contains(share))
        .collect()
}

/// Steps in the making; what is added next waits for all of `after`.
#[derive(Default)]
struct List {
    steps: Vec<Step>,
    after: Vec<StepId>,
    side_by_side: Vec<StepId>,
}

impl List {
    fn add(&mut self, action: Action, executor: Executor, timeout: Duration, attempts: u32) -> &mut Step {
        let id = StepId(self.steps.len() as u16 + 1);
        self.side_by_side.push(id);
        self.steps.push(Step {
            id,
            action,
            executor,
            after: self.after.clone(),
            timeout,
            attempts,
            on_failure: OnFailure::Stop,
            point_of_no_return: false,
        });
        self.steps.last_mut().expect("just pushed")
    }

    /// What follows waits for everything so far.
    fn barrier(&mut self) {
        if !self.side_by_side.is_empty() {
            self.after = std::mem::take(&mut self.side_by_side);
        }
    }

    /// Who writes, before where names lead. Gives whether there is a database.
    fn move_database(&mut self, state: &State, wish: &Wish) -> bool {
        let Some((wished, held)) = state.database(wish.service).filter(|_| wish.kind.moves_primary()) else {
            return false;
        };
        // What still writes is told to end, and waited for. Nobody is fenced to be promoted again.
        let last = held.vacancy().map_or(held.holder(), |vacancy| vacancy.last.as_ref());
        if let Some(region) = last.filter(|last| *last != wish.to || held.holder().is_none()) {
            let lossless = held.holder().is_some() && !wish.at_once;
            let fence = Action::Fence { region: region.clone(), lossless };
            // One that does not answer is waited for until its lease is over.
            let timeout = FENCE_TIMEOUT.max(lease::span(wished.lease.ttl) + FENCE_SPARE);
            self.add(fence, Executor::Controllers, timeout, 1);
            self.barrier();
        }
        let promote = Action::Promote { region: wish.to.clone() };
        self.add(promote, Executor::Controllers, PROMOTE_TIMEOUT, 1).point_of_no_return = true;
        self.barrier();
        true
    }

    fn shift(&mut self, wish: &Wish, zone: DnsName, provider: DnsProvider, set: Vec<RecordSet>, last: bool) {
        let executor = match provider {
            DnsProvider::Embedded => Executor::Controllers,
            DnsProvider::Rfc2136 { .. } => Executor::Agent(wish.to.clone()),
        };
        let step = self.add(Action::ShiftDns { zone, provider, set }, executor, DNS_TIMEOUT, ATTEMPTS);
        step.point_of_no_return = last;
    }

    fn settle(&mut self, pause: Duration) {
        self.barrier();
        self.add(Action::Settle { pause }, Executor::Controllers, pause, 1);
        self.barrier();
    }

    fn settle_as_move(&mut self) {
        let pause = Duration::ZERO;
        self.add(Action::Settle { pause }, Executor::Controllers, pause, 1).point_of_no_return = true;
    }

    fn verify_dns(
        &mut self,
        wish: &Wish,
        state: &State,
        zone: DnsName,
        provider: &DnsProvider,
        set: Vec<RecordSet>,
    ) {
        let servers: Vec<String> = match provider {
            DnsProvider::Rfc2136 { authoritative, .. } => authoritative.clone(),
            DnsProvider::Embedded => {
                let live = state.sessions.values().filter(|session| session.live);
                live.filter_map(|session| session.info.dns.clone()).collect()
            }
        };
        if !servers.is_empty() {
            let executor = Executor::Agent(wish.to.clone());
            self.add(Action::VerifyDns { zone, servers, set }, executor, VERIFY_TIMEOUT, ATTEMPTS);
        }
    }

    fn verify_service(&mut self, config: &Config, state: &State, wish: &Wish) {
        let target = if wish.kind == Kind::Withdraw {
            match state.services.get(wish.service) {
                Some(placement) => &placement.primary,
                None => return,
            }
        } else {
            wish.to
        };
        let (mut own, mut endpoints) = (Vec::new(), Vec::new());
        for check in config.checks.iter().filter(|check| check.region == *target) {
            match &check.service {
                Some(service) if service == wish.service => own.push(check.id.clone()),
                Some(_) => {}
                None => endpoints.push(check.id.clone()),
            }
        }
        let checks = if own.is_empty() { endpoints } else { own };
        if checks.is_empty() {
            return;
        }
        let executor = Executor::Agent(outside(config, state, wish, target, |_| true));
        self.add(Action::VerifyService { checks }, executor, VERIFY_TIMEOUT, ATTEMPTS);
    }

    fn verify_write(&mut self, config: &Config, state: &State, wish: &Wish) {
        // Nobody relies on the first primary yet, and commits may wait for copies that are still made.
        let Some((wished, _)) = state.database(wish.service).filter(|(_, held)| held.system.is_some()) else {
            return;
        };
        let knows = |region: &RegionName| wished.instances.contains_key(region);
        let executor = Executor::Agent(outside(config, state, wish, wish.to, knows));
        self.add(Action::VerifyWrite { region: wish.to.clone() }, executor, VERIFY_TIMEOUT, ATTEMPTS);
    }
}

/// A region with a live agent from which to look at the target: a third one where there is one.
fn outside(
    config: &Config,
    state: &State,
    wish: &Wish,
    target: &RegionName,
    can: impl Fn(&RegionName) -> bool,
) -> RegionName {
    let involved: BTreeSet<&RegionName> = [wish.from, wish.to, target].into();
    config
        .regions
        .iter()
        .map(|region| &region.name)
        .find(|name| !involved.contains(name) && state.has_live_agent(name) && can(name))
        .unwrap_or(target)
        .clone()
}
