//! Incidents for the status page: opened, updated and resolved by what the journal records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{RegionName, ServiceName};
use crate::time::Time;

/// How many are kept; the status page shows the latest 50.
pub const KEPT_INCIDENTS: usize = 50;
/// Updates kept of one incident.
const KEPT_UPDATES: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The journal entry that opened it.
    pub id: u64,
    pub subject: Subject,
    pub impact: Impact,
    pub status: IncidentStatus,
    pub opened_at: Time,
    pub updated_at: Time,
    pub resolved_at: Option<Time>,
    /// Oldest first.
    pub updates: Vec<Update>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Region(RegionName),
    Service(ServiceName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impact {
    Minor,
    Major,
    Critical,
}

/// As the Statuspage API names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    Investigating,
    Identified,
    Monitoring,
    Resolved,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub seq: u64,
    pub at: Time,
    pub status: IncidentStatus,
    pub body: String,
}

/// Opens an incident on a subject, or adds to the one that is open.
pub fn tell(
    incidents: &mut Vec<Arc<Incident>>,
    seq: u64,
    at: Time,
    subject: Subject,
    impact: Impact,
    status: IncidentStatus,
    body: String,
) {
    let update = Update { seq, at, status, body };
    let open =
        incidents.iter_mut().find(|incident| incident.subject == subject && incident.resolved_at.is_none());
    if let Some(incident) = open.map(Arc::make_mut) {
        incident.impact = incident.impact.max(impact);
        push(incident, update);
        return;
    }
    let incident = Incident {
        id: seq,
        subject,
        impact,
        status,
        opened_at: at,
        updated_at: at,
        resolved_at: None,
        updates: vec![update],
    };
    incidents.insert(0, Arc::new(incident));
    if incidents.len() > KEPT_INCIDENTS {
        // The oldest that is over goes; one that is not over stays in sight as long as it can.
        let over = incidents.iter().rposition(|incident| incident.resolved_at.is_some());
        incidents.remove(over.unwrap_or(KEPT_INCIDENTS));
    }
}

/// Adds to an open incident; nothing when none is open.
pub fn update(
    incidents: &mut [Arc<Incident>],
    seq: u64,
    at: Time,
    subject: &Subject,
    status: IncidentStatus,
    body: String,
) {
    let open =
        incidents.iter_mut().find(|incident| incident.subject == *subject && incident.resolved_at.is_none());
    if let Some(incident) = open.map(Arc::make_mut) {
        push(incident, Update { seq, at, status, body });
    }
}

fn push(incident: &mut Incident, update: Update) {
    incident.status = update.status;
    incident.updated_at = update.at;
    if update.status == IncidentStatus::Resolved {
        incident.resolved_at = Some(update.at);
    }
    incident.updates.push(update);
    if incident.updates.len() > KEPT_UPDATES {
        // The first says how it began; the oldest after it goes.
        incident.updates.remove(1);
    }
}
