//! Records that contradict themselves: two open plans of a service, two open incidents of one
//! subject, a primary that does not host its service.

use std::collections::BTreeSet;

use super::Found;
use crate::plan::{PlanStatus, StepStatus};
use crate::state::State;

const NAME: &str = "sound records";

pub(super) fn check(state: &State, found: &mut Found) {
    let mut open = BTreeSet::new();
    for record in state.plans.values().filter(|record| record.is_open()) {
        let service = &record.plan.service;
        found.unless(open.insert(service), NAME, || format!("two plans of {service} are open"));
    }
    let done = state.plans.values().filter(|record| record.status == PlanStatus::Done);
    for record in done {
        let over = |status| matches!(status, StepStatus::Done | StepStatus::Skipped);
        let all = record
            .plan
            .steps
            .iter()
            .all(|step| record.steps.get(&step.id).is_some_and(|step| over(step.status)));
        found.unless(all, NAME, || format!("{} is done, its steps are not", record.plan.id));
    }
    let mut subjects = BTreeSet::new();
    for incident in state.incidents.iter().filter(|incident| incident.resolved_at.is_none()) {
        let subject = &incident.subject;
        found.unless(subjects.insert(subject), NAME, || format!("two incidents of {subject:?} are open"));
    }
    let Some(config) = &state.config else { return };
    for (service, placement) in &state.services {
        let hosted = config.hosts(service).any(|region| region.name == placement.primary);
        let primary = &placement.primary;
        found.unless(hosted, NAME, || format!("{service} is in {primary}, which does not host it"));
    }
}
