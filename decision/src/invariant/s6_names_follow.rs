//! S6: what Regent's own servers answer is where the service is, except while a plan runs that
//! moves it; so no name leads for longer to where the service is no more.

use super::Found;
use crate::plan::PlanStatus;
use crate::records::{Spread, of_service};
use crate::state::State;

pub(super) fn check(state: &State, found: &mut Found) {
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
