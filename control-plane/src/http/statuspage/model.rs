//! The documents as the Statuspage v2 API writes them, field for field.

use decision::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use super::overview::Overview;

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Summary {
    pub(super) page: Page,
    pub(super) components: Vec<Component>,
    /// Those that are not resolved.
    pub(super) incidents: Vec<Incident>,
    /// Those that are going on.
    pub(super) scheduled_maintenances: Vec<Maintenance>,
    pub(super) status: StatusLine,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct StatusDocument {
    pub(super) page: Page,
    pub(super) status: StatusLine,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Components {
    pub(super) page: Page,
    pub(super) components: Vec<Component>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Incidents {
    pub(super) page: Page,
    /// Newest first, at most 50.
    pub(super) incidents: Vec<Incident>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Maintenances {
    pub(super) page: Page,
    /// Newest first, at most 50.
    pub(super) scheduled_maintenances: Vec<Maintenance>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Page {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) time_zone: &'static str,
    /// When anything on the page last changed.
    pub(super) updated_at: String,
}

impl Page {
    pub(super) fn of(overview: &Overview) -> Page {
        Page {
            id: overview.page_id.clone(),
            name: overview.name.clone(),
            url: overview.url.clone(),
            time_zone: "Etc/UTC",
            updated_at: rfc3339(overview.updated_at),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct StatusLine {
    pub(in crate::http) indicator: Indicator,
    pub(in crate::http) description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Indicator {
    None,
    Minor,
    Major,
    Critical,
    Maintenance,
}

/// The worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ComponentStatus {
    Operational,
    UnderMaintenance,
    DegradedPerformance,
    PartialOutage,
    MajorOutage,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Component {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: ComponentStatus,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) position: u8,
    pub(super) description: Option<String>,
    pub(super) showcase: bool,
    pub(super) start_date: Option<String>,
    pub(super) group_id: Option<String>,
    pub(super) page_id: String,
    /// Whether it is a group.
    pub(super) group: bool,
    pub(super) only_show_if_degraded: bool,
    /// Of a group: what is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) components: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum IncidentStatus {
    Investigating,
    Identified,
    Monitoring,
    Resolved,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Incident {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: IncidentStatus,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) monitoring_at: Option<String>,
    pub(super) resolved_at: Option<String>,
    pub(super) impact: Indicator,
    pub(super) shortlink: String,
    pub(super) started_at: String,
    pub(super) page_id: String,
    /// Newest first.
    pub(super) incident_updates: Vec<IncidentUpdate>,
    pub(super) components: Vec<Component>,
    pub(super) reminder_intervals: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct IncidentUpdate {
    pub(super) id: String,
    pub(super) status: IncidentStatus,
    pub(super) body: String,
    pub(super) incident_id: String,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) display_at: String,
    pub(super) affected_components: Vec<AffectedComponent>,
    pub(super) deliver_notifications: bool,
    pub(super) custom_tweet: Option<String>,
    pub(super) tweet_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct AffectedComponent {
    /// The component's id.
    pub(super) code: String,
    pub(super) name: String,
    pub(super) old_status: ComponentStatus,
    pub(super) new_status: ComponentStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum MaintenanceStatus {
    InProgress,
    Completed,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Maintenance {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: MaintenanceStatus,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) monitoring_at: Option<String>,
    pub(super) resolved_at: Option<String>,
    pub(super) impact: Indicator,
    pub(super) shortlink: String,
    pub(super) started_at: String,
    pub(super) page_id: String,
    /// Newest first.
    pub(super) incident_updates: Vec<MaintenanceUpdate>,
    pub(super) components: Vec<Component>,
    pub(super) scheduled_for: String,
    pub(super) scheduled_until: String,
    pub(super) reminder_intervals: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct MaintenanceUpdate {
    pub(super) id: String,
    pub(super) status: MaintenanceStatus,
    pub(super) body: String,
    pub(super) incident_id: String,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) display_at: String,
    pub(super) affected_components: Vec<AffectedComponent>,
    pub(super) deliver_notifications: bool,
    pub(super) custom_tweet: Option<String>,
    pub(super) tweet_id: Option<String>,
}
