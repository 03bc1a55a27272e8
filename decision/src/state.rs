//! The replicated state. It changes only by `apply`, in the order of the log, the same on every
//! controller. Its large parts are shared by its copies, because every look makes one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::AgentInfo;
use crate::config::{Config, Database};
use crate::database::Ownership;
use crate::dns::Zone;
use crate::drill::{Drill, DrillId};
use crate::evidence::Evidence;
use crate::incident::Incident;
use crate::journal::Journal;
use crate::name::{AgentId, CheckId, DnsName, RegionName, ServiceName};
use crate::plan::{Action, Epoch, Kind, PlanId, PlanRecord, PlanStatus, StepStatus};
use crate::time::Time;
use crate::verdict::Verdict;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The newest log index applied.
    pub index: u64,
    /// The newest time stamped; never falls.
    pub now: Time,
    pub config: Option<Arc<Config>>,
    /// Rises with every configuration; 0 before the first.
    pub config_generation: u64,
    pub sessions: BTreeMap<AgentId, Session>,
    pub evidence: BTreeMap<AgentId, Arc<BTreeMap<CheckId, Evidence>>>,
    pub regions: BTreeMap<RegionName, Standing>,
    pub services: BTreeMap<ServiceName, Placement>,
    /// Epochs of services that left the configuration, so that none falls when one comes back (S2).
    #[serde(default)]
    pub retired: BTreeMap<ServiceName, Epoch>,
    /// Of the services that have a database.
    #[serde(default)]
    pub databases: BTreeMap<ServiceName, Ownership>,
    pub zones: BTreeMap<DnsName, Zone>,
    /// The highest generation any zone ever had, so that none falls when a zone comes back (S2).
    #[serde(default)]
    pub zone_generation: u64,
    /// Open plans, and the newest ended ones.
    pub plans: BTreeMap<PlanId, Arc<PlanRecord>>,
    pub last_plan: u64,
    pub paused: Option<String>,
    pub drained: BTreeMap<RegionName, String>,
    /// Changes of traffic within the window of the limits, oldest first.
    pub moves: Vec<Move>,
    /// What was last said of a service that is not healthy and was not moved.
    pub held: BTreeMap<ServiceName, String>,
    /// The newest first.
    pub incidents: Vec<Arc<Incident>>,
    /// The newest, each with what came of it.
    #[serde(default)]
    pub drills: BTreeMap<DrillId, Arc<Drill>>,
    #[serde(default)]
    pub last_drill: u64,
    pub journal: Journal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub info: AgentInfo,
    pub live: bool,
    /// When it was last opened or lost.
    pub since: Time,
}

/// What is held of a region, or of a service in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub verdict: Verdict,
    pub since: Time,
    pub because: String,
    /// When it was lately found dead or partitioned: a region that does so often is held down.
    #[serde(default)]
    pub falls: Vec<Time>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            verdict: Verdict::Unknown,
            since: Time(0),
            because: "not looked at yet".into(),
            falls: Vec::new(),
        }
    }
}

impl Standing {
    /// Whether nobody has looked yet.
    pub fn is_unseen(&self) -> bool {
        self.since == Time(0)
    }
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub primary: RegionName,
    pub epoch: Epoch,
    /// When it came to its primary.
    pub since: Time,
    /// Whether it ever moved; until then nothing damps its first move.
    #[serde(default)]
    pub moved: bool,
    /// The configuration generation by which DNS servers of others were last made to name it.
    #[serde(default)]
    pub published: u64,
    /// Regions left out of its weighted records.
    pub left_out: BTreeSet<RegionName>,
    pub standing: BTreeMap<RegionName, Standing>,
}

/// A fence that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fencing<'a> {
    /// It shuts down in order, and its lease goes on until it has.
    pub lossless: bool,
    pub heir: &'a RegionName,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// When it took effect.
    pub at: Time,
    /// When it was decided: what was decided together is one event.
    pub decided_at: Time,
    pub kind: Kind,
    pub service: ServiceName,
    pub from: RegionName,
    pub to: RegionName,
    pub automatic: bool,
}

impl State {
    pub fn live_agents(&self) -> BTreeSet<AgentId> {
        self.sessions.iter().filter(|(_, session)| session.live).map(|(agent, _)| agent.clone()).collect()
    }

    pub fn has_live_agent(&self, region: &RegionName) -> bool {
        self.sessions.iter().any(|(agent, session)| session.live && agent.region == *region)
    }

    pub fn next_plan(&self) -> PlanId {
        PlanId(self.last_plan + 1)
    }

    pub fn open_plan(&self, service: &ServiceName) -> Option<&PlanRecord> {
        let mut newest = self.plans.values().rev().map(|record| &**record);
        newest.find(|record| record.is_open() && record.plan.service == *service)
    }

    /// A service's database, as it is wished and as it is.
    pub fn database(&self, service: &ServiceName) -> Option<(&Database, &Ownership)> {
        let wished = self.config.as_ref()?.services.get(service)?.database.as_ref()?;
        Some((wished, self.databases.get(service)?))
    }

    /// Whether the instance in `region` is being told to end its writes, and if so, for whom.
    pub fn fencing(&self, service: &ServiceName, region: &RegionName) -> Option<Fencing<'_>> {
        let record = self.open_plan(service).filter(|record| record.status == PlanStatus::Running)?;
        record.plan.steps.iter().find_map(|step| match &step.action {
            Action::Fence { region: of, lossless } if of == region => {
                let begun = record.steps.get(&step.id)?;
                let fencing = Fencing { lossless: *lossless, heir: &record.plan.to };
                (begun.status == StepStatus::Running).then_some(fencing)
            }
            _ => None,
        })
    }

    pub fn region_verdict(&self, region: &RegionName) -> Verdict {
        self.regions.get(region).map_or(Verdict::Unknown, |standing| standing.verdict)
    }

    pub fn service_verdict(&self, service: &ServiceName, region: &RegionName) -> Verdict {
        self.services
            .get(service)
            .and_then(|placement| placement.standing.get(region))
            .map_or(Verdict::Unknown, |standing| standing.verdict)
    }
}
