//! What an agent does with its copy: as its goal says, and under its lease.

use std::sync::Arc;
use std::time::Duration;

use decision::database::branch::Branch;
use decision::database::lease::Wanted;
use decision::database::report::Release;
use decision::database::{InstanceReport, InstanceRole, Sequence};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::RegionName;
use decision::plan::Epoch;
use region_agent::database::tell::Teller;

use super::Life;
use super::copy::Copy;
use super::lease::Lease;
use crate::sim::planted::Around;
use crate::sim::setup::{REGIONS, SERVICE};

const LOOKS_EVERY: Duration = Duration::from_millis(200);
/// Of looks, though only a position changed.
const TOLD_EVERY: u64 = 10;
const WROTE_BYTES: u64 = 8;

pub async fn keeps(life: Life) {
    let (lease, teller, service) = (Lease::new(), Teller::new(), SERVICE.into());
    tokio::join!(
        lease.keeps(&life, &service),
        Arc::clone(&teller).tell(service.clone(), life.controllers()),
        looks(&life, &lease, &teller),
    );
}

async fn looks(life: &Life, lease: &Lease, teller: &Teller) {
    let process = life.ground.chance.next();
    let mut goals = life.goal.subscribe();
    let mut told: Option<InstanceReport> = None;
    for number in 0.. {
        let goal = goals.borrow_and_update().databases.first().cloned();
        if let Some(goal) = goal {
            let (found, released) = Look { life, lease, goal: &goal }.reconciles();
            let is_other = told.as_ref().is_none_or(|told| !is_like(told, &found));
            if is_other || number % TOLD_EVERY == 0 {
                told = Some(found.clone());
                teller.report(InstanceReport { sequence: Sequence { process, number }, ..found });
            }
            if let Some(released) = released {
                teller.release(released);
            }
        }
        tokio::select! {
            biased;
            _ = goals.changed() => {}
            () = tokio::time::sleep(LOOKS_EVERY) => {}
        }
    }
}

/// But for how far it has come.
fn is_like(told: &InstanceReport, found: &InstanceReport) -> bool {
    told.role == found.role
        && told.settled == found.settled
        && told.heir == found.heir
        && told.branch == found.branch
}

struct Look<'a> {
    life: &'a Life,
    lease: &'a Lease,
    goal: &'a DatabaseGoal,
}

impl Look<'_> {
    fn reconciles(&self) -> (InstanceReport, Option<Release>) {
        let now = self.life.ground.now();
        let own = self.life.region();
        let mut copy = self.life.ground.truth().copies[own];
        let mut heir = None;
        let mut released = None;
        let crashed = std::mem::take(&mut copy.crashes) && copy.is_primary();
        if crashed {
            released = self.ends(&mut copy, false, "the server died");
        }
        match &self.goal.role {
            DatabaseRole::Primary { .. } if copy.ended < Some(self.goal.epoch) => {
                released = self.leads(&mut copy).or(released);
            }
            DatabaseRole::Yield { to } if copy.is_primary() => released = self.yields(&mut copy, to.as_ref()),
            DatabaseRole::Primary { .. } | DatabaseRole::Yield { .. } => self.lease.want(None),
            DatabaseRole::Replica { of, heir: is_heir } => {
                self.lets_go();
                let primary = self.of(of);
                copy.role = match (copy.role, &primary) {
                    (InstanceRole::Absent, None) => InstanceRole::Absent,
                    (_, primary) => InstanceRole::Replica { streaming: primary.is_some() },
                };
                if let Some(primary) = &primary {
                    copy.takes_from(primary, now);
                    heir = is_heir.then_some(self.goal.epoch);
                }
            }
            DatabaseRole::Rest { .. } => {
                self.lets_go();
                if copy.is_primary() {
                    copy.role = InstanceRole::Stopped { clean: false };
                }
                if copy.settled.map(|(epoch, _)| epoch) != Some(self.goal.epoch) {
                    copy.settled = Some((self.goal.epoch, now));
                }
            }
        }
        self.life.ground.truth().copies[own] = copy;
        (self.report(&copy, heir), released)
    }

    fn leads(&self, copy: &mut Copy) -> Option<Release> {
        let now = self.life.ground.now();
        let wanted = Wanted { epoch: self.goal.epoch, timings: self.goal.wished.lease, ready: None };
        self.lease.want(Some(wanted));
        let (is_begun, is_held) =
            (copy.role == InstanceRole::Primary { epoch: wanted.epoch }, self.lease.is_held(&wanted, now));
        match (is_begun, is_held) {
            (true, true) => {
                copy.position.lsn.0 += WROTE_BYTES;
                copy.level = now;
                None
            }
            // Its guard has ended it.
            (true, false) if !self.life.ground.has(Around::PromotesUnguarded) => {
                self.ends(copy, false, "the lease was over")
            }
            (false, true) => {
                copy.position.timeline += 1;
                copy.branch = Some(Branch { timeline: copy.position.timeline, epoch: wanted.epoch });
                copy.role = InstanceRole::Primary { epoch: wanted.epoch };
                self.life.ground.line(|| format!("{} leads at epoch {}", self.life.id, wanted.epoch));
                None
            }
            (_, false) => None,
        }
    }

    /// It goes on until its heir has all that it has.
    fn yields(&self, copy: &mut Copy, to: Option<&RegionName>) -> Option<Release> {
        let Some(to) = to else { return self.ends(copy, false, "it was told to end") };
        let now = self.life.ground.now();
        let (heir, is_reached) = {
            let truth = self.life.ground.truth();
            let region = region(to)?;
            let machine = truth.layout.agent(region);
            (region, truth.reaches(self.life.machine, machine) && truth.reaches(machine, self.life.machine))
        };
        if !is_reached {
            return None;
        }
        self.life.ground.truth().copies[heir].takes_from(copy, now);
        self.ends(copy, true, "it was shut down in order")
    }

    fn ends(&self, copy: &mut Copy, clean: bool, why: &str) -> Option<Release> {
        let InstanceRole::Primary { epoch } = copy.role else { return None };
        self.lets_go();
        copy.role = InstanceRole::Stopped { clean };
        copy.ended = Some(epoch);
        Some(Release {
            epoch,
            clean: clean.then_some(copy.position),
            last_known: Some(copy.position).filter(|_| !clean),
            unwritten: false,
            why: why.to_owned(),
        })
    }

    fn lets_go(&self) {
        self.lease.want(None);
        self.life.ground.truth().writers.ends(&self.life.id.region);
    }

    /// The primary there, if it is one and can be reached.
    fn of(&self, primary: &RegionName) -> Option<Copy> {
        let truth = self.life.ground.truth();
        let region = region(primary)?;
        let machine = truth.layout.agent(region);
        let is_reached =
            truth.reaches(self.life.machine, machine) && truth.reaches(machine, self.life.machine);
        Some(truth.copies[region]).filter(|copy| is_reached && copy.is_primary())
    }

    fn report(&self, copy: &Copy, heir: Option<Epoch>) -> InstanceReport {
        let has_data = copy.role != InstanceRole::Absent;
        let until = match (&self.goal.role, copy.settled) {
            (DatabaseRole::Rest { .. }, Some((_, rested))) => rested,
            _ => self.life.ground.now(),
        };
        InstanceReport {
            role: copy.role,
            position: Some(copy.position).filter(|_| has_data),
            upstream: None,
            silent: until.since(copy.level),
            promised: Duration::ZERO,
            marked: None,
            settled: copy.settled.map(|(epoch, _)| epoch),
            heir,
            ready: None,
            system: has_data.then(|| "7".into()),
            branch: copy.branch.filter(|_| has_data),
            guard: None,
            alone: None,
            problem: None,
            sequence: Sequence::default(),
        }
    }
}

fn region(name: &RegionName) -> Option<usize> {
    REGIONS.iter().position(|region| *region == name.as_str())
}
