//! Drills, as what Statuspage calls scheduled maintenance: disturbances that were meant.

use decision::drill::Drill;
use decision::state::State;
use decision::time::rfc3339;

use super::id;
use super::model::{
    AffectedComponent, ComponentStatus, Indicator, Maintenance, MaintenanceStatus, MaintenanceUpdate,
};
use super::overview::{Overview, region_id};

/// Newest first.
pub(super) fn of(state: &State, overview: &Overview, active_only: bool) -> Vec<Maintenance> {
    let shown = state.drills.values().rev().filter(|drill| !active_only || drill.is_running());
    shown.map(|drill| of_one(drill, overview)).collect()
}

/// What it is called.
pub(in crate::http) fn name(drill: &Drill) -> String {
    format!("Drill: {} of {} for {}", drill.wish.scenario, drill.wish.region, drill.wish.service)
}

/// What came of it, in a line.
pub(in crate::http) fn outcome(drill: &Drill) -> String {
    match (&drill.report, &drill.ended) {
        (Some(report), _) => {
            let gap = report.measured.longest_gap_ms.map_or_else(
                || "what clients saw was not measured".to_owned(),
                |gap| format!("at most {gap} ms without a success"),
            );
            format!("{}: {gap}, {} rows lost", report.verdict, report.measured.lost)
        }
        (None, Some(ended)) => format!("It is over: {}", ended.why),
        (None, None) => "A failure was caused on purpose. Service may be interrupted for a moment.".into(),
    }
}

fn of_one(drill: &Drill, overview: &Overview) -> Maintenance {
    let drill_id = id("drill", &drill.id.to_string());
    let begun = rfc3339(drill.begun_at);
    let updated = drill.ended.as_ref().map_or_else(|| begun.clone(), |ended| rfc3339(ended.at));
    let status = match drill.is_running() {
        true => MaintenanceStatus::InProgress,
        false => MaintenanceStatus::Completed,
    };
    Maintenance {
        name: name(drill),
        status,
        created_at: begun.clone(),
        updated_at: updated.clone(),
        monitoring_at: None,
        resolved_at: drill.ended.as_ref().map(|ended| rfc3339(ended.at)),
        impact: Indicator::Maintenance,
        shortlink: format!("{}/#drill-{drill_id}", overview.url),
        started_at: begun.clone(),
        page_id: overview.page_id.clone(),
        incident_updates: vec![MaintenanceUpdate {
            id: id("drill update", &format!("{}/{status:?}", drill.id)),
            status,
            body: outcome(drill),
            incident_id: drill_id.clone(),
            created_at: updated.clone(),
            updated_at: updated.clone(),
            display_at: updated,
            affected_components: vec![AffectedComponent {
                code: region_id(&drill.wish.region),
                name: drill.wish.region.to_string(),
                old_status: ComponentStatus::Operational,
                new_status: match drill.is_running() {
                    true => ComponentStatus::UnderMaintenance,
                    false => ComponentStatus::Operational,
                },
            }],
            deliver_notifications: false,
            custom_tweet: None,
            tweet_id: None,
        }],
        components: Vec::new(),
        scheduled_for: begun,
        scheduled_until: rfc3339(drill.begun_at + drill.wish.lasts),
        reminder_intervals: None,
        id: drill_id,
    }
}
