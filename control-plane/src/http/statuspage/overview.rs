//! What users may know of services and regions, in their words: from verdicts to what they mean
//! for someone who wants to be served.

use std::collections::BTreeMap;

use decision::config::Region;
use decision::event::Event;
use decision::incident::{Impact, Subject};
use decision::name::{RegionName, ServiceName};
use decision::state::{Placement, Standing, State};
use decision::time::{Time, rfc3339};
use decision::verdict::Verdict;

use super::id;
use super::model::{Component, ComponentStatus, Indicator, StatusLine};
use crate::view::standing;

pub(in crate::http) struct Overview {
    pub(in crate::http) page_id: String,
    pub(in crate::http) name: String,
    pub(in crate::http) url: String,
    pub(in crate::http) updated_at: Time,
    pub(in crate::http) configured: bool,
    pub(in crate::http) services: Vec<Line>,
    /// Witnesses are left out: nobody is served from them.
    pub(in crate::http) regions: Vec<Line>,
}

/// One service or region.
#[derive(Clone, Debug)]
pub(in crate::http) struct Line {
    pub(in crate::http) id: String,
    pub(in crate::http) name: String,
    pub(in crate::http) status: ComponentStatus,
    pub(in crate::http) verdict: Verdict,
    /// Where a service is.
    pub(in crate::http) primary: Option<RegionName>,
    pub(in crate::http) description: String,
    pub(in crate::http) updated_at: Time,
}

impl Overview {
    pub(in crate::http) fn of(state: &State) -> Overview {
        let page = state.config.as_ref().map(|config| &config.status_page);
        let (name, url) = page.map_or(("Regent", ""), |page| (page.name.as_str(), page.url.as_str()));
        let services: Vec<Line> =
            state.services.iter().map(|(name, placement)| service(state, name, placement)).collect();
        let drains = drain_changes(state);
        let hosting = state.config.iter().flat_map(|config| &config.regions).filter(|region| !region.witness);
        let regions: Vec<Line> = hosting
            .map(|region| of_region(state, region, drains.get(&region.name).copied().unwrap_or_default()))
            .collect();
        let updated_at = services
            .iter()
            .chain(&regions)
            .map(|line| line.updated_at)
            .chain(state.incidents.iter().map(|incident| incident.updated_at))
            .max();
        Overview {
            page_id: id("page", url),
            name: name.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            updated_at: updated_at.unwrap_or(state.now),
            configured: state.config.is_some(),
            services,
            regions,
        }
    }

    /// What matters to users is whether they are served: a region that is lost while every service
    /// runs elsewhere is a minor matter.
    pub(in crate::http) fn status(&self) -> StatusLine {
        let worst = |lines: &[Line]| lines.iter().map(|line| line.status).max();
        let not_well = |lines: &[Line], status| {
            let names: Vec<&str> =
                lines.iter().filter(|line| line.status == status).map(|line| line.name.as_str()).collect();
            names.join(", ")
        };
        let of_services = worst(&self.services).unwrap_or(ComponentStatus::Operational);
        let of_regions = worst(&self.regions).unwrap_or(ComponentStatus::Operational);
        let services = not_well(&self.services, of_services);
        let regions = not_well(&self.regions, of_regions);
        let unknown = self.services.iter().any(|line| line.verdict == Verdict::Unknown);
        use ComponentStatus as C;
        let (indicator, description) = match (of_services, of_regions) {
            (C::MajorOutage, _) => (Indicator::Critical, format!("Major outage: {services}")),
            (C::PartialOutage, _) => (Indicator::Major, format!("Partial outage: {services}")),
            (C::DegradedPerformance, _) => (Indicator::Minor, format!("Degraded performance: {services}")),
            (_, C::MajorOutage | C::PartialOutage) => (
                Indicator::Minor,
                format!("All services are running, with less reserve: outage of {regions}"),
            ),
            (_, C::DegradedPerformance) => (
                Indicator::Minor,
                format!("All services are running, with less reserve: {regions} is degraded"),
            ),
            _ if !self.configured => (Indicator::None, "Nothing is configured yet".to_owned()),
            _ if unknown => {
                (Indicator::None, "No outage is known, but not everything can be observed now".to_owned())
            }
            (_, C::UnderMaintenance) => {
                (Indicator::Maintenance, format!("All services are running; under maintenance: {regions}"))
            }
            _ => (Indicator::None, "All systems operational".to_owned()),
        };
        StatusLine { indicator, description }
    }

    /// Each group, followed by what is in it.
    pub(in crate::http) fn components(&self) -> Vec<Component> {
        let groups = [("Services", &self.services), ("Regions", &self.regions)];
        let filled = groups.iter().filter(|(_, lines)| !lines.is_empty());
        filled
            .zip(1..)
            .flat_map(|((name, lines), position)| {
                let group = self.group(name, lines, position);
                let members =
                    lines.iter().zip(1usize..).map(|(line, position)| self.component(line, position));
                std::iter::once(group).chain(members).collect::<Vec<_>>()
            })
            .collect()
    }

    fn group(&self, name: &str, lines: &[Line], position: u8) -> Component {
        let updated_at = lines.iter().map(|line| line.updated_at).max().unwrap_or_default();
        Component {
            id: group_id(name),
            name: name.to_owned(),
            status: lines.iter().map(|line| line.status).max().unwrap_or(ComponentStatus::Operational),
            created_at: rfc3339(updated_at),
            updated_at: rfc3339(updated_at),
            position,
            description: None,
            showcase: false,
            start_date: None,
            group_id: None,
            page_id: self.page_id.clone(),
            group: true,
            only_show_if_degraded: false,
            components: Some(lines.iter().map(|line| line.id.clone()).collect()),
        }
    }

    fn component(&self, line: &Line, position: usize) -> Component {
        let group = if line.primary.is_some() { "Services" } else { "Regions" };
        Component {
            id: line.id.clone(),
            name: line.name.clone(),
            status: line.status,
            // The state does not know when it was first configured.
            created_at: rfc3339(line.updated_at),
            updated_at: rfc3339(line.updated_at),
            // Clients hold positions in a byte.
            position: u8::try_from(position).unwrap_or(u8::MAX),
            description: Some(line.description.clone()),
            showcase: true,
            start_date: None,
            group_id: Some(group_id(group)),
            page_id: self.page_id.clone(),
            group: false,
            only_show_if_degraded: false,
            components: None,
        }
    }

    pub(super) fn component_of(&self, subject: &Subject) -> Option<Component> {
        let (lines, id) = match subject {
            Subject::Region(name) => (&self.regions, region_id(name)),
            Subject::Service(name) => (&self.services, service_id(name)),
        };
        let (line, position) = lines.iter().zip(1..).find(|(line, _)| line.id == id)?;
        Some(self.component(line, position))
    }
}

fn group_id(name: &str) -> String {
    id("group", name)
}

pub(super) fn region_id(name: &RegionName) -> String {
    id("region", name.as_str())
}

pub(super) fn service_id(name: &ServiceName) -> String {
    id("service", name.as_str())
}

fn service(state: &State, name: &ServiceName, placement: &Placement) -> Line {
    let standing = standing(placement);
    let primary = &placement.primary;
    let status = status(state, &standing, &Subject::Service(name.clone()));
    let description = match standing.verdict {
        Verdict::Healthy => format!("Served from {primary}"),
        Verdict::Dead => format!("Its place is {primary}: {}", standing.because),
        Verdict::Unknown => format!("Served from {primary}; {}", not_known(status, &standing)),
        _ => format!("Served from {primary}: {}", standing.because),
    };
    Line {
        id: service_id(name),
        name: name.to_string(),
        status,
        verdict: standing.verdict,
        primary: Some(primary.clone()),
        description,
        updated_at: standing.since.max(placement.since),
    }
}

fn of_region(state: &State, region: &Region, drain_changed_at: Time) -> Line {
    let standing = state.regions.get(&region.name).cloned().unwrap_or_default();
    let healthy = status(state, &standing, &Subject::Region(region.name.clone()));
    let drained = state.drained.get(&region.name);
    let (status, description) = match (drained, standing.verdict) {
        (Some(why), _) => {
            (ComponentStatus::UnderMaintenance, format!("Taken out of service on purpose: {why}"))
        }
        (None, Verdict::Healthy) => (healthy, "Running normally".to_owned()),
        (None, Verdict::Unknown) => (healthy, capital(&not_known(healthy, &standing))),
        (None, _) => (healthy, capital(&standing.because)),
    };
    Line {
        id: region_id(&region.name),
        name: region.name.to_string(),
        status,
        verdict: standing.verdict,
        primary: None,
        description,
        updated_at: standing.since.max(drain_changed_at),
    }
}

/// Statuspage has no word for unknown, and unknown is not down: it stays what it was last known to
/// be, which the open incident tells, and the description says so.
fn status(state: &State, standing: &Standing, subject: &Subject) -> ComponentStatus {
    match standing.verdict {
        Verdict::Healthy => ComponentStatus::Operational,
        Verdict::Degraded => ComponentStatus::DegradedPerformance,
        Verdict::Partitioned => ComponentStatus::PartialOutage,
        Verdict::Dead => ComponentStatus::MajorOutage,
        Verdict::Unknown => state
            .incidents
            .iter()
            .find(|incident| incident.subject == *subject && incident.resolved_at.is_none())
            .map_or(ComponentStatus::Operational, |incident| under(incident.impact)),
    }
}

pub(super) fn under(impact: Impact) -> ComponentStatus {
    match impact {
        Impact::Minor => ComponentStatus::DegradedPerformance,
        Impact::Major => ComponentStatus::PartialOutage,
        Impact::Critical => ComponentStatus::MajorOutage,
    }
}

fn not_known(last: ComponentStatus, standing: &Standing) -> String {
    let last = match last {
        ComponentStatus::Operational => "no trouble was known before",
        _ => "what is shown is what was last known",
    };
    format!("how it is now is not known ({}); {last}", standing.because)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// When each region was last drained or undrained, as far back as the journal reaches.
fn drain_changes(state: &State) -> BTreeMap<&RegionName, Time> {
    let changes = state.journal.entries().filter_map(|entry| match &entry.event {
        Event::RegionDrained { region, .. } | Event::RegionUndrained { region } => Some((region, entry.at)),
        _ => None,
    });
    // The last one stays.
    changes.collect()
}
