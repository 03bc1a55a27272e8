use super::{Applied, Context, KEPT_REASON, kept};
use crate::command::Refusal;
use crate::event::Event;
use crate::name::RegionName;
use crate::state::State;

pub(super) fn pause(state: &mut State, context: &Context, why: String) -> Applied {
    let why = kept(why, KEPT_REASON);
    if state.paused.as_ref() == Some(&why) {
        return Ok(false);
    }
    state.paused = Some(why.clone());
    state.record(context, Event::AutomationPaused { why });
    Ok(true)
}

pub(super) fn resume(state: &mut State, context: &Context) -> Applied {
    if state.paused.take().is_none() {
        return Ok(false);
    }
    state.record(context, Event::AutomationResumed);
    Ok(true)
}

pub(super) fn drain(state: &mut State, context: &Context, region: RegionName, why: String) -> Applied {
    let config = state.config.as_ref().ok_or(Refusal::NotConfigured)?;
    if config.region(&region).is_none() {
        return Err(Refusal::Unknown { what: format!("region {region}") });
    }
    if state.drained.contains_key(&region) {
        return Ok(false);
    }
    let why = kept(why, KEPT_REASON);
    state.drained.insert(region.clone(), why.clone());
    state.record(context, Event::RegionDrained { region, why });
    Ok(true)
}

pub(super) fn undrain(state: &mut State, context: &Context, region: RegionName) -> Applied {
    if state.drained.remove(&region).is_none() {
        return Ok(false);
    }
    // What was said of the drain is over; said again, it is news again.
    for (service, placement) in &state.services {
        if placement.primary == region {
            state.held.remove(service);
        }
    }
    state.record(context, Event::RegionUndrained { region });
    Ok(true)
}
