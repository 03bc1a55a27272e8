//! The faults of the fast depth, as they strike here. A machine that crashes is powered off as often as its processes
//! are merely killed: then nobody is told that its connections are gone, not even who asks. What would be a pause holds
//! up all that comes and goes, since turmoil cannot stop a machine's own clock.

use std::time::Duration;

use control_plane::raft::MemoryDisk;
use turmoil::Sim;

use super::disk::lose_power;
use super::ground::Ground;
use super::judge::Judge;
use super::machine::name;
use super::ways::Change;
use crate::sim::fault::{Fault, Planned, Shown};
use crate::sim::ground::Machine;
use crate::sim::layout::{Layout, Ways};
use crate::sim::setup::REGIONS;

/// Between two machines one way; of one region, and of two.
#[derive(Clone, Copy)]
pub struct Base {
    pub near: Duration,
    pub far: Duration,
}

impl Base {
    pub fn between(self, layout: Layout, a: Machine, b: Machine) -> Duration {
        if layout.region(a) == layout.region(b) { self.near } else { self.far }
    }
}

pub struct Faults {
    ground: Ground,
    layout: Layout,
    base: Base,
    /// Of each controller.
    disks: Vec<MemoryDisk>,
    planned: Vec<Planned>,
    /// Which of them end with the power coming back.
    powered_off: Vec<bool>,
    /// By when: the fault, and whether it begins.
    due: Vec<(u64, usize, bool)>,
}

impl Faults {
    pub fn new(
        ground: Ground,
        layout: Layout,
        base: Base,
        disks: Vec<MemoryDisk>,
        planned: Vec<Planned>,
    ) -> Faults {
        let both = |(n, planned): (usize, &Planned)| [(planned.from.0, n, true), (planned.until.0, n, false)];
        let mut due: Vec<_> = planned.iter().enumerate().flat_map(both).collect();
        // The last comes out first; of one moment, ends before beginnings.
        due.sort_by_key(|(at, n, begins)| std::cmp::Reverse((*at, *begins, *n)));
        let powered_off = planned.iter().map(|_| ground.chance.permille(500)).collect();
        Faults { ground, layout, base, disks, planned, powered_off, due }
    }

    /// Sets every way to what it is without faults.
    pub fn lays_ways(&self, sim: &mut Sim<'_>) {
        for a in 0..self.layout.machines() {
            for b in a + 1..self.layout.machines() {
                self.applies(sim, a, b);
            }
        }
    }

    /// Whatever is due by now begins or ends.
    pub fn strike(&mut self, sim: &mut Sim<'_>, judge: &mut Judge) {
        let now = self.ground.truth().step.0;
        while let Some((_, n, begins)) = self.due.pop_if(|(at, ..)| *at <= now) {
            self.strikes(sim, judge, n, begins);
        }
    }

    fn strikes(&mut self, sim: &mut Sim<'_>, judge: &mut Judge, n: usize, begins: bool) {
        let (fault, layout) = (self.planned[n].fault.clone(), self.layout);
        self.ground
            .line(|| format!("{} {}", if begins { "BEGINS" } else { "ends  " }, Shown(&fault, layout)));
        self.ground.truth().is_struck(&fault, begins);
        match &fault {
            Fault::Crash(machine) if begins => {
                if self.powered_off[n] {
                    self.changes(sim, &layout.around(&[*machine]), Change::Cut, true);
                }
                self.crashes(sim, judge, *machine, true);
            }
            Fault::Crash(machine) => {
                if self.powered_off[n] {
                    self.changes(sim, &layout.around(&[*machine]), Change::Cut, false);
                }
                self.restarts(sim, *machine);
            }
            Fault::CrashAgent(machine) if begins => self.crashes(sim, judge, *machine, false),
            Fault::CrashAgent(machine) => self.restarts(sim, *machine),
            // A controller ends by itself then. Here it is not there again before its disk is well.
            Fault::FlushError(machine) if layout.is_controller(*machine) => match begins {
                true => self.crashes(sim, judge, *machine, false),
                false => self.restarts(sim, *machine),
            },
            Fault::CrashServer(machine) | Fault::FullDisk(machine) | Fault::FlushError(machine) if begins => {
                self.ground.truth().copies[layout.region(*machine)].crashes = true;
            }
            Fault::Pause(machine) | Fault::Freeze(machine) => {
                self.changes(sim, &layout.around(&[*machine]), Change::Hold, begins);
            }
            Fault::Cut { ways, .. } => self.changes(sim, ways, Change::Cut, begins),
            Fault::Loss { ways, permille } => self.changes(sim, ways, Change::Loss(*permille), begins),
            Fault::Delay { ways, by } => self.changes(sim, ways, Change::Longer(*by), begins),
            // Nobody's rows are kept here, no server is there to be asked, and turmoil keeps the order of what comes
            // over one way.
            Fault::Scatter { .. }
            | Fault::CrashServer(_)
            | Fault::FullDisk(_)
            | Fault::FlushError(_)
            | Fault::OldData(_)
            | Fault::PromotionFails(_)
            | Fault::PromotionHangs(_)
            | Fault::CallsHang(_)
            | Fault::AnswersLost(_)
            | Fault::SlowDisk { .. }
            | Fault::Clock { .. }
            | Fault::Service(_) => {}
        }
    }

    fn changes(&self, sim: &mut Sim<'_>, ways: &Ways, change: Change, begins: bool) {
        self.ground.truth().ways.changes(ways, change, begins);
        let mut pairs: Vec<_> = ways.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for (a, b) in pairs {
            self.applies(sim, a, b);
        }
    }

    fn applies(&self, sim: &mut Sim<'_>, a: Machine, b: Machine) {
        let base = self.base.between(self.layout, a, b);
        self.ground.truth().ways.apply(sim, self.layout, base, (a, b));
    }

    fn crashes(&self, sim: &mut Sim<'_>, judge: &mut Judge, machine: Machine, with_server: bool) {
        let layout = self.layout;
        let is_first = {
            let mut truth = self.ground.truth();
            truth.running.remove(&machine);
            truth.downs[machine] += 1;
            let region = layout.region(machine);
            if with_server && layout.is_data(machine) {
                let copy = &mut truth.copies[region];
                copy.crashes |= copy.is_primary();
                truth.writers.ends(&REGIONS[region].into());
            }
            truth.downs[machine] == 1
        };
        if !is_first {
            return;
        }
        judge.forgets(machine);
        // tokio drops tasks in an order that hangs on what else this process has run. So that nobody hears of it, their
        // last words are lost; whoever speaks to them afterwards is told that they are gone.
        let others = || (0..layout.machines()).filter(|other| *other != machine);
        others().for_each(|other| sim.partition(name(layout, machine), name(layout, other)));
        sim.crash(name(layout, machine));
        others().for_each(|other| self.applies(sim, machine.min(other), machine.max(other)));
        if layout.is_controller(machine) {
            let lost = lose_power(&self.ground, &self.disks[machine]);
            self.ground.line(|| format!("{} lost {lost} writes", name(layout, machine)));
        }
    }

    fn restarts(&self, sim: &mut Sim<'_>, machine: Machine) {
        let is_up = {
            let mut truth = self.ground.truth();
            truth.downs[machine] -= 1;
            truth.downs[machine] == 0
        };
        if is_up {
            sim.bounce(name(self.layout, machine));
        }
    }
}
