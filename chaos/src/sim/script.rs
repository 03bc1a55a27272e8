//! One thing that happens, alone: for runs in which what happens beside it is chosen, and not drawn.

use decision::name::RegionName;
use serde::Serialize;

use super::fault::{Fault, Planned};
use super::layout::Layout;
use super::queue::Moment;
use super::schedule::lost;
use super::setup::REGIONS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Script {
    /// The first region, where the service begins, is lost for good.
    RegionLost,
    /// Its server alone ends.
    ServerDies,
    /// An operator moves the service to the second.
    Switchover,
}

impl Script {
    pub const ALL: [Script; 3] = [Script::RegionLost, Script::ServerDies, Script::Switchover];

    pub fn faults(self, layout: Layout, at: Moment, end: Moment) -> Vec<Planned> {
        match self {
            Script::RegionLost => lost(layout, 0, at, Moment(end.0 + 1)),
            Script::ServerDies => {
                vec![Planned { from: at, until: at, fault: Fault::CrashServer(layout.agent(0)) }]
            }
            Script::Switchover => Vec::new(),
        }
    }

    pub fn planned_move(self) -> Option<RegionName> {
        (self == Script::Switchover).then(|| REGIONS[1].into())
    }
}
