//! A machine of a run, as the parts on it see it: its name, its clock, its chance, its network.

use std::sync::Arc;

use decision::time::Time;
use wire::host::{Clock, Gate, Host, Random};

use super::ground::Ground;
use super::network::Turmoil;
use crate::sim::chance::Chance;
use crate::sim::ground::Machine;
use crate::sim::layout::Layout;

/// Where every controller listens.
pub const PORT: u16 = 7400;
pub const PAGE_PORT: u16 = 7401;

pub fn name(layout: Layout, machine: Machine) -> String {
    layout.name(machine).replace(' ', "-")
}

pub fn address(layout: Layout, controller: Machine) -> String {
    format!("{}:{PORT}", name(layout, controller))
}

pub fn listen(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

pub fn host(ground: &Ground, machine: Machine) -> Host {
    Host {
        clock: Arc::new(WallClock(ground.clone(), machine)),
        random: Arc::new(Drawn(Arc::clone(&ground.chance))),
        network: Arc::new(Turmoil { ground: ground.clone(), machine }),
        gate: Gate::default(),
    }
}

/// Set wrongly now and then. Waiting is not its business: that is tokio's clock, which is turmoil's.
struct WallClock(Ground, Machine);

impl Clock for WallClock {
    fn now(&self) -> Time {
        let now = self.0.now();
        self.0.truth().clocks[self.1].wall(now)
    }
}

struct Drawn(Arc<Chance>);

impl Random for Drawn {
    fn next_u64(&self) -> u64 {
        self.0.next()
    }
}
