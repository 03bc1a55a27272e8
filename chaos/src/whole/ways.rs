//! What of the network is broken. Several faults may lie on one way; turmoil knows one state of it.

use std::time::Duration;

use turmoil::Sim;

use super::machine::name;
use crate::sim::ground::Machine;
use crate::sim::layout::{Layout, Ways};

/// A message that turmoil loses ends its connection, for nothing is sent again there: of a loss that TCP would hardly
/// notice nothing would be left. So it is rarer here by so much.
const LOSS_RARER: f64 = 40.0;

#[derive(Clone, Copy, Default)]
struct Way {
    cuts: u32,
    /// Nothing comes while it lasts, and everything afterwards.
    holds: u32,
    loss_permille: u64,
    longer: Duration,
}

pub struct WayStates {
    machines: usize,
    ways: Vec<Way>,
}

/// How much a fault changes, or its end.
#[derive(Clone, Copy)]
pub enum Change {
    Cut,
    Hold,
    Loss(u64),
    Longer(Duration),
}

impl WayStates {
    pub fn new(machines: usize) -> WayStates {
        WayStates { machines, ways: vec![Way::default(); machines * machines] }
    }

    fn way(&self, from: Machine, to: Machine) -> Way {
        self.ways[from * self.machines + to]
    }

    pub fn is_open(&self, from: Machine, to: Machine) -> bool {
        let way = self.way(from, to);
        way.cuts == 0 && way.holds == 0
    }

    pub fn changes(&mut self, ways: &Ways, change: Change, begins: bool) {
        for (from, to) in ways {
            let way = &mut self.ways[from * self.machines + to];
            let count = |held: &mut u32| *held = if begins { *held + 1 } else { held.saturating_sub(1) };
            match change {
                Change::Cut => count(&mut way.cuts),
                Change::Hold => count(&mut way.holds),
                Change::Loss(permille) => {
                    let held = way.loss_permille;
                    way.loss_permille = if begins { held + permille } else { held.saturating_sub(permille) };
                }
                Change::Longer(by) => {
                    way.longer = if begins { way.longer + by } else { way.longer.saturating_sub(by) };
                }
            }
        }
    }

    /// Has turmoil know of the ways between these two.
    pub fn apply(&self, sim: &mut Sim<'_>, layout: Layout, base: Duration, (a, b): (Machine, Machine)) {
        let (name_a, name_b) = (name(layout, a), name(layout, b));
        let (there, back) = (self.way(a, b), self.way(b, a));
        let (a, b) = (name_a.as_str(), name_b.as_str());
        match (there.cuts > 0, back.cuts > 0) {
            (false, false) if there.holds + back.holds > 0 => sim.hold(a, b),
            // Whatever was held is let go.
            (false, false) => sim.release(a, b),
            (true, true) => sim.partition(a, b),
            (true, false) => {
                sim.release(a, b);
                sim.partition_oneway(a, b);
            }
            (false, true) => {
                sim.release(a, b);
                sim.partition_oneway(b, a);
            }
        }
        // Where a way is cut, what turmoil does by chance would join it again.
        let is_cut = there.cuts + back.cuts > 0;
        let permille = there.loss_permille.max(back.loss_permille).min(1_000);
        let rate = if is_cut { 0.0 } else { permille as f64 / 1_000.0 / LOSS_RARER };
        sim.set_link_fail_rate(a, b, rate);
        sim.set_link_latency(a, b, base + there.longer.max(back.longer));
    }
}
