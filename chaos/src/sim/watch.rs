//! What an agent finds out by its probes, and what of it the controllers have yet to hear.

use std::collections::BTreeMap;
use std::time::Duration;

use decision::config::Check;
use decision::evidence::{Condition, Finding};
use decision::name::{CheckId, RegionName};
use decision::sick::Period;
use decision::threshold::{Standing, Thresholds};
use decision::time::Uptime;

use super::agent::Agent;
use super::ground::Ground;
use super::timer::{OfAgent, Timer};

#[derive(Default)]
pub struct Watch {
    /// Of the checks that are watched: probes of others come to nothing.
    generation: u32,
    checks: Vec<Watched>,
    pub book: Book,
    /// Machines of the regions, by name.
    pub regions: BTreeMap<RegionName, usize>,
}

struct Watched {
    check: Check,
    standing: Standing<Uptime>,
    /// When the newest probe began whose result was taken.
    taken: Uptime,
}

/// Changes overwrite each other here.
#[derive(Default)]
pub struct Book {
    entries: BTreeMap<CheckId, Entry>,
}

struct Entry {
    condition: Condition,
    since: Uptime,
    is_told: bool,
}

impl Watch {
    pub fn of(regions: BTreeMap<RegionName, usize>) -> Watch {
        Watch { regions, ..Watch::default() }
    }
}

impl Book {
    fn set(&mut self, check: &CheckId, condition: Condition, since: Uptime) {
        self.entries.insert(check.clone(), Entry { condition, since, is_told: false });
    }

    /// All is to be told again.
    pub fn refresh(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.is_told = false);
    }

    fn distrust(&mut self, now: Uptime) {
        for entry in self.entries.values_mut() {
            *entry = Entry { condition: Condition::Unknown, since: now, is_told: false };
        }
    }

    /// What is untold, told from now on.
    pub fn take(&mut self, now: Uptime) -> Vec<Finding> {
        let untold = self.entries.iter_mut().filter(|(_, entry)| !entry.is_told);
        untold
            .map(|(check, entry)| {
                entry.is_told = true;
                Finding {
                    check: check.clone(),
                    condition: entry.condition,
                    age: now.since(entry.since),
                    reason: String::new(),
                }
            })
            .collect()
    }
}

impl Agent {
    /// Takes over the checks of its goal, and begins anew with each.
    pub fn watches(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let watched =
            |check: &Check| Watched { check: check.clone(), standing: Standing::unknown(now), taken: now };
        self.watch.checks = self.goal.checks.iter().map(watched).collect();
        let named = |id: &CheckId| self.goal.checks.iter().any(|check| check.id == *id);
        self.watch.book.entries.retain(|id, _| named(id));
        self.watch.generation += 1;
        let generation = self.watch.generation;
        for (check, watched) in self.watch.checks.iter().enumerate() {
            let first = ground.chance.between(Duration::ZERO, watched.check.interval);
            ground.ring(self.machine, first, Timer::Agent(OfAgent::Probe { generation, check }));
        }
    }

    /// Whether a probe of this region's endpoints is answered now.
    pub fn reaches(&self, region: &RegionName, ground: &Ground) -> bool {
        let Some(target) = self.watch.regions.get(region).copied() else { return false };
        let host = &ground.hosts[target];
        let is_own = target == self.machine;
        host.is_up()
            && host.pauses == 0
            && host.broken_services == 0
            && (is_own || ground.net.is_open_both_ways(self.machine, target))
    }

    pub fn probes(&mut self, generation: u32, check: usize, ground: &mut Ground) {
        if generation != self.watch.generation {
            return;
        }
        let began = ground.uptime(self.machine);
        let watched = &self.watch.checks[check];
        let (interval, timeout) = (watched.check.interval, watched.check.timeout);
        ground.ring(self.machine, interval, Timer::Agent(OfAgent::Probe { generation, check }));
        match self.reaches(&watched.check.region, ground) {
            true => self.has_probed(generation, check, true, began, ground),
            false => {
                let failed = OfAgent::Failed { generation, check, began };
                ground.ring(self.machine, timeout * self.health.multiplier(), Timer::Agent(failed));
            }
        }
    }

    pub fn has_probed(
        &mut self,
        generation: u32,
        check: usize,
        passed: bool,
        began: Uptime,
        ground: &mut Ground,
    ) {
        if generation != self.watch.generation || !self.health.is_trusted() {
            return;
        }
        let Watched { check, standing, taken } = &mut self.watch.checks[check];
        if began < *taken {
            return;
        }
        *taken = began;
        let thresholds = Thresholds::of(check, self.health.threshold_multiplier());
        if standing.take(passed, began, thresholds) {
            self.watch.book.set(&check.id, standing.condition(), standing.since());
            self.speaks(ground);
        }
    }

    /// Once a heartbeat: does it reach anybody?
    pub fn judges_itself(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let heartbeat = self.heartbeat();
        let period = Period {
            worst_lag: Duration::ZERO,
            lag_limit: Duration::from_millis(50),
            silence: now.since(self.contact),
            heartbeat,
        };
        let was_trusted = self.health.is_trusted();
        self.health = self.health.judge(period);
        if was_trusted != self.health.is_trusted() {
            if was_trusted {
                self.watch.book.distrust(now);
            }
            self.watch.checks.iter_mut().for_each(|watched| watched.standing = Standing::unknown(now));
            self.speaks(ground);
        }
        ground.ring(self.machine, heartbeat, Timer::Agent(OfAgent::Judge));
    }
}
