//! Incidents and their updates, as the journal opened, told and resolved them.

use decision::incident::{self, Impact, IncidentStatus, Subject};
use decision::state::State;
use decision::time::rfc3339;

use super::id;
use super::model::{self, AffectedComponent, ComponentStatus, Indicator};
use super::overview::{Overview, region_id, service_id, under};

/// Newest first.
pub(super) fn of(state: &State, overview: &Overview, unresolved_only: bool) -> Vec<model::Incident> {
    let shown = state.incidents.iter().filter(|incident| !unresolved_only || incident.resolved_at.is_none());
    shown.map(|incident| of_one(incident, overview)).collect()
}

fn of_one(incident: &incident::Incident, overview: &Overview) -> model::Incident {
    let incident_id = id("incident", &incident.id.to_string());
    let monitoring = incident.updates.iter().rev().find(|update| update.status == IncidentStatus::Monitoring);
    model::Incident {
        name: name(incident),
        status: status(incident.status),
        created_at: rfc3339(incident.opened_at),
        updated_at: rfc3339(incident.updated_at),
        monitoring_at: monitoring.map(|update| rfc3339(update.at)),
        resolved_at: incident.resolved_at.map(rfc3339),
        impact: match incident.impact {
            Impact::Minor => Indicator::Minor,
            Impact::Major => Indicator::Major,
            Impact::Critical => Indicator::Critical,
        },
        shortlink: format!("{}/#incident-{incident_id}", overview.url),
        started_at: rfc3339(incident.opened_at),
        page_id: overview.page_id.clone(),
        incident_updates: updates(incident, &incident_id),
        components: overview.component_of(&incident.subject).into_iter().collect(),
        reminder_intervals: None,
        id: incident_id,
    }
}

/// What it is called; a name changes when the impact rises.
pub(in crate::http) fn name(incident: &incident::Incident) -> String {
    let what = match incident.impact {
        Impact::Minor => "Degraded performance",
        Impact::Major => "Partial outage",
        Impact::Critical => "Outage",
    };
    match &incident.subject {
        Subject::Region(region) => format!("{what} of region {region}"),
        Subject::Service(service) => format!("{what} of {service}"),
    }
}

fn updates(incident: &incident::Incident, incident_id: &str) -> Vec<model::IncidentUpdate> {
    let (code, name) = match &incident.subject {
        Subject::Region(name) => (region_id(name), name.to_string()),
        Subject::Service(name) => (service_id(name), name.to_string()),
    };
    let first = incident.updates.first().map(|update| update.seq);
    let affected = |update: &incident::Update| {
        // Only the incident's whole impact is kept, not that of each update.
        let hurt = under(incident.impact);
        AffectedComponent {
            code: code.clone(),
            name: name.clone(),
            old_status: if Some(update.seq) == first { ComponentStatus::Operational } else { hurt },
            new_status: if update.status == IncidentStatus::Resolved {
                ComponentStatus::Operational
            } else {
                hurt
            },
        }
    };
    let of_one = |update: &incident::Update| {
        let at = rfc3339(update.at);
        model::IncidentUpdate {
            // One journal entry may tell an incident twice, each time of another status.
            id: id("update", &format!("{incident_id}/{}/{:?}", update.seq, update.status)),
            status: status(update.status),
            body: update.body.clone(),
            incident_id: incident_id.to_owned(),
            created_at: at.clone(),
            updated_at: at.clone(),
            display_at: at,
            affected_components: vec![affected(update)],
            deliver_notifications: false,
            custom_tweet: None,
            tweet_id: None,
        }
    };
    incident.updates.iter().rev().map(of_one).collect()
}

fn status(status: IncidentStatus) -> model::IncidentStatus {
    match status {
        IncidentStatus::Investigating => model::IncidentStatus::Investigating,
        IncidentStatus::Identified => model::IncidentStatus::Identified,
        IncidentStatus::Monitoring => model::IncidentStatus::Monitoring,
        IncidentStatus::Resolved => model::IncidentStatus::Resolved,
    }
}
