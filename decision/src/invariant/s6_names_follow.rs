//! S6: what Regent's own servers answer is where the service is, except while a plan runs that
//! moves it; so no name leads for longer to where the service is no more. Where writes move, too, names follow them.

use super::Found;
use crate::config::DnsProvider;
use crate::plan::{Action, PlanRecord, PlanStatus, Step, StepStatus};
use crate::records::{Spread, of_service};
use crate::state::State;

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    names_lead_where_it_is(after, found);
    names_follow_the_writer(before, after, found);
}

fn names_lead_where_it_is(state: &State, found: &mut Found) {
    let Some(config) = &state.config else { return };
    for (service, placement) in &state.services {
        if state.open_plan(service).is_some_and(|open| open.status == PlanStatus::Running) {
            continue;
        }
        let spread = Spread { primary: &placement.primary, left_out: &placement.left_out, leaving: None };
        for (origin, wanted) in of_service(config, service, &spread) {
            let Some(zone) = state.zones.get(&origin) else { continue };
            for set in wanted {
                let held = zone.records.iter().find(|held| held.name == set.name && held.rtype == set.rtype);
                found.unless(held == Some(&set), "S6", || {
                    format!("{} says {held:?}, but {service} is in {}", set.name, placement.primary)
                });
            }
        }
    }
}

fn names_follow_the_writer(before: &State, after: &State, found: &mut Found) {
    for record in after.plans.values().filter(|record| record.is_open()) {
        let was = before.plans.get(&record.plan.id);
        let is_news = |step: &&Step| is_done(record, step) && !was.is_some_and(|was| is_done(was, step));
        for step in record.plan.steps.iter().filter(is_news) {
            let plan = &record.plan;
            match &step.action {
                Action::Promote { region } => {
                    let held = after.databases.get(&plan.service);
                    // It may have ended in the same moment.
                    let waits =
                        held.is_some_and(|held| held.holder() == Some(region) && !held.is_primary(region));
                    found.unless(!waits, "S6", || format!("{}: {region} takes no writes yet", plan.id));
                }
                Action::ShiftDns { provider: DnsProvider::Embedded, .. } => {
                    let promotes = |step: &&Step| matches!(step.action, Action::Promote { .. });
                    let is_promoted = plan.steps.iter().filter(promotes).all(|step| is_done(record, step));
                    found.unless(is_promoted, "S6", || {
                        format!("{}: names lead to {} before it takes writes", plan.id, plan.to)
                    });
                }
                _ => {}
            }
        }
    }
}

fn is_done(record: &PlanRecord, step: &Step) -> bool {
    record.steps.get(&step.id).is_some_and(|step| step.status == StepStatus::Done)
}
