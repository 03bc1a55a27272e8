//! The public status in the shape of the Statuspage v2 API, so that what reads other status pages
//! reads Regent's. Everything in it comes from the replicated state: every controller that has
//! applied the same entries gives the same bytes.

mod drills;
mod incidents;
mod model;
mod moment;
mod overview;

use decision::state::State;
use serde::Serialize;

pub(in crate::http) use drills::{name as drill_name, outcome as drill_outcome};
pub(in crate::http) use incidents::name as incident_name;
pub(in crate::http) use model::{
    ComponentStatus, Components, Incidents, Indicator, Maintenances, Page, StatusDocument, Summary,
};
pub(in crate::http) use moment::readable;
pub(in crate::http) use overview::{Line, Overview};

/// The documents, each under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Which {
    Summary,
    Status,
    Components,
    Incidents,
    UnresolvedIncidents,
    /// Drills. A drained region shows as a component under maintenance.
    Maintenances,
    ActiveMaintenances,
    /// None: nothing is planned ahead.
    UpcomingMaintenances,
}

pub(in crate::http) fn render(which: Which, state: &State) -> Vec<u8> {
    let overview = Overview::of(state);
    let page = || Page::of(&overview);
    match which {
        Which::Summary => json(&Summary {
            page: page(),
            components: overview.components(),
            incidents: incidents::of(state, &overview, true),
            scheduled_maintenances: drills::of(state, &overview, true),
            status: overview.status(),
        }),
        Which::Status => json(&StatusDocument { page: page(), status: overview.status() }),
        Which::Components => json(&Components { page: page(), components: overview.components() }),
        Which::Incidents => {
            json(&Incidents { page: page(), incidents: incidents::of(state, &overview, false) })
        }
        Which::UnresolvedIncidents => {
            json(&Incidents { page: page(), incidents: incidents::of(state, &overview, true) })
        }
        Which::Maintenances => {
            json(&Maintenances { page: page(), scheduled_maintenances: drills::of(state, &overview, false) })
        }
        Which::ActiveMaintenances => {
            json(&Maintenances { page: page(), scheduled_maintenances: drills::of(state, &overview, true) })
        }
        Which::UpcomingMaintenances => {
            json(&Maintenances { page: page(), scheduled_maintenances: Vec::new() })
        }
    }
}

fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have only string keys")
}

/// A stable id in the form of Statuspage's: twelve letters and digits, from what it stands for.
pub(in crate::http) fn id(kind: &str, name: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
    digest[..12]
        .iter()
        .map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::from(byte % 32)]))
        .collect()
}
