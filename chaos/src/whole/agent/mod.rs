//! An agent, played: it holds a session with a real controller, tells what it sees, answers the steps that it is given,
//! and keeps a database of a few numbers under real leases. What it asks and tells beside the session goes the way of
//! `region-agent`'s own calls.

pub mod copy;
mod database;
mod lease;
mod probes;
mod session;

use std::time::Duration;

use decision::goal::Goal;
use decision::name::AgentId;
use region_agent::database::controllers::Controllers;
use tokio::sync::watch;
use wire::host::Host;
use wire::tls::Credentials;

use super::ground::Ground;
use super::machine::{address, host};
use crate::sim::ground::Machine;
use crate::sim::setup::REGIONS;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What of an agent outlives its process.
#[derive(Clone)]
pub struct Agent {
    pub ground: Ground,
    pub machine: Machine,
    pub credentials: Credentials,
    /// The newest goal, as on disk.
    pub goal: watch::Sender<Goal>,
}

/// One life of it.
#[derive(Clone)]
struct Life {
    ground: Ground,
    machine: Machine,
    id: AgentId,
    host: Host,
    credentials: Credentials,
    /// Those of the own region first.
    controllers: Vec<String>,
    goal: watch::Sender<Goal>,
}

impl Agent {
    pub fn new(ground: &Ground, machine: Machine, credentials: Credentials) -> Agent {
        let goal = watch::Sender::new(Goal::default());
        Agent { ground: ground.clone(), machine, credentials, goal }
    }

    pub async fn runs(self) {
        let layout = self.ground.truth().layout;
        let region = layout.region(self.machine);
        let others = (0..layout.regions).map(|next| (region + next) % layout.regions);
        let life = Life {
            host: host(&self.ground, self.machine),
            id: AgentId::new(REGIONS[region], 1),
            controllers: others.map(|n| address(layout, layout.controller(n))).collect(),
            ground: self.ground,
            machine: self.machine,
            credentials: self.credentials,
            goal: self.goal,
        };
        tokio::join!(session::holds(life.clone()), database::keeps(life));
    }
}

impl Life {
    fn region(&self) -> usize {
        self.ground.truth().layout.region(self.machine)
    }

    /// For calls beside the session.
    fn controllers(&self) -> Controllers {
        Controllers::new(&self.host, &self.credentials, &self.controllers, CONNECT_WITHIN)
    }
}
