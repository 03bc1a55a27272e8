//! What is true in a run, for all its parts: each holds a handle on the one ground.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use control_plane::raft::{Node, Store};

use super::agent::copy::Copy;
use super::ways::WayStates;
use super::writers::Writers;
use crate::linearizable::{OnRegister, Operation};
use crate::sim::chance::Chance;
use crate::sim::clock::Clock;
use crate::sim::fault::Fault;
use crate::sim::ground::Machine;
use crate::sim::layout::Layout;
use crate::sim::ledger::Violation;
use crate::sim::planted::Around;
use crate::sim::queue::Moment;
use crate::sim::trace::Trace;
use crate::sim::{Bug, Options};

/// Of one kind, so many are told.
const VIOLATIONS_MOST: usize = 20;

/// The member of a controller, and what it remembers.
#[derive(Clone)]
pub struct Running {
    pub node: Node,
    pub store: Store,
}

pub struct Truth {
    pub layout: Layout,
    /// Of the step that is under way.
    pub step: Moment,
    pub trace: Trace,
    pub violations: Vec<Violation>,
    /// Controllers that run, by machine.
    pub running: BTreeMap<Machine, Running>,
    pub clocks: Vec<Clock>,
    /// How much longer a sync takes.
    pub slow_disks: Vec<Duration>,
    /// How often a machine was brought down and is not up again.
    pub downs: Vec<u32>,
    /// Faults of what clients are served by.
    pub broken_services: Vec<u32>,
    pub ways: WayStates,
    pub writers: Writers,
    /// Of the database, by region.
    pub copies: Vec<Copy>,
    /// Of operators; each knows where its own operation stands.
    pub history: Vec<Operation<OnRegister>>,
    /// When one was answered last.
    pub answered: Option<Moment>,
    /// A bug that was put in.
    planted: Option<Bug>,
    connections: u64,
}

#[derive(Clone)]
pub struct Ground {
    truth: Arc<Mutex<Truth>>,
    pub chance: Arc<Chance>,
}

impl Ground {
    pub fn new(layout: Layout, seed: u64, options: &Options) -> Ground {
        let machines = layout.machines();
        let truth = Truth {
            layout,
            step: Moment(0),
            trace: Trace::new(options.is_read),
            violations: Vec::new(),
            running: BTreeMap::new(),
            clocks: vec![Clock::new(0); machines],
            slow_disks: vec![Duration::ZERO; machines],
            downs: vec![0; machines],
            broken_services: vec![0; machines],
            ways: WayStates::new(machines),
            writers: Writers::default(),
            copies: vec![Copy::default(); layout.regions],
            history: Vec::new(),
            answered: None,
            planted: options.planted,
            connections: 0,
        };
        Ground { truth: Arc::new(Mutex::new(truth)), chance: Arc::new(Chance::new(seed)) }
    }

    /// Held briefly: whoever runs in a run shares it.
    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().expect("no panic under this lock")
    }

    /// True time. Between steps, and where the world itself is being changed, that of the step.
    pub fn now(&self) -> Moment {
        turmoil::sim_elapsed().map_or_else(|| self.truth().step, |elapsed| Moment(0) + elapsed)
    }

    /// Something happened that a second run has to repeat.
    pub fn happens(&self, kind: u64, machine: Machine, detail: u64) {
        let now = self.now();
        let mut truth = self.truth();
        truth.trace.happens(now, kind, machine);
        truth.trace.mixes(detail);
    }

    pub fn line(&self, what: impl FnOnce() -> String) {
        let now = self.now();
        self.truth().trace.line(now, what);
    }

    pub fn finds(&self, invariant: &'static str, detail: String) {
        let at = self.now();
        self.line(|| format!("{invariant} is broken: {detail}"));
        let mut truth = self.truth();
        if truth.violations.len() < VIOLATIONS_MOST {
            truth.violations.push(Violation { at, invariant, detail });
        }
    }

    pub fn has(&self, bug: Around) -> bool {
        self.truth().planted == Some(Bug::Around(bug))
    }

    pub fn connection(&self) -> u64 {
        let mut truth = self.truth();
        truth.connections += 1;
        truth.connections
    }
}

impl Truth {
    /// Whether what one says comes to the other now.
    pub fn reaches(&self, from: Machine, to: Machine) -> bool {
        self.downs[from] == 0 && self.downs[to] == 0 && self.ways.is_open(from, to)
    }

    /// Those faults that change what is true for all; the machines and the network are seen to elsewhere.
    pub fn is_struck(&mut self, fault: &Fault, begins: bool) {
        let count = |held: &mut u32| *held = if begins { *held + 1 } else { *held - 1 };
        match fault {
            Fault::SlowDisk { machine, by } => {
                let held = &mut self.slow_disks[*machine];
                *held = if begins { *held + *by } else { held.saturating_sub(*by) };
            }
            Fault::Clock { machine, by_ms } => {
                self.clocks[*machine].ahead_ms += if begins { *by_ms } else { -*by_ms };
            }
            Fault::Service(machine) => count(&mut self.broken_services[*machine]),
            _ => {}
        }
    }
}
