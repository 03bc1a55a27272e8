//! Failures caused on purpose: one at a time, bounded, and of what there is. Whether the rest is sound the leader looks
//! at (`drill::guard`), by rules that may change from version to version.

use std::sync::Arc;

use super::{Applied, Context, KEPT_REASON, kept};
use crate::command::Refusal;
use crate::drill::guard::LONGEST;
use crate::drill::report::Report;
use crate::drill::{Drill, DrillId, Ended, KEPT, Wish};
use crate::event::Event;
use crate::state::State;
use crate::time::Human;

pub(super) fn begin(state: &mut State, context: &Context, id: DrillId, wish: Wish) -> Applied {
    let next = DrillId(state.last_drill + 1);
    if id != next {
        return Err(Refusal::NotAllowed {
            detail: format!("the next drill is {next}, and not {id}: this one came late"),
        });
    }
    let wish = Wish { scenario: kept(wish.scenario, KEPT_REASON), ..wish };
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    if let Some(running) = state.drills.values().find(|drill| drill.is_running()) {
        return not_allowed(format!("{} is running: one fault at a time", running.id));
    }
    if let Some(why) = &state.paused {
        return Err(Refusal::Paused { why: why.clone() });
    }
    if wish.lasts.is_zero() || wish.lasts > LONGEST {
        return not_allowed(format!("it must last for more than 0 and at most {}", Human(LONGEST)));
    }
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    if config.region(&wish.region).is_none() {
        return Err(Refusal::Unknown { what: format!("region {}", wish.region) });
    }
    if !state.services.contains_key(&wish.service) {
        return Err(Refusal::Unknown { what: format!("service {}", wish.service) });
    }
    state.last_drill = id.0;
    let (now, by) = (state.now, context.by.to_owned());
    let drill = Drill { id, wish, by, begun_at: now, renewed_at: now, ended: None, report: None };
    let event = Event::DrillBegun { drill: id, wish: drill.wish.clone() };
    state.drills.insert(id, Arc::new(drill));
    while state.drills.len() > KEPT {
        state.drills.pop_first();
    }
    state.record(context, event);
    Ok(true)
}

/// Its process is still there.
pub(super) fn renew(state: &mut State, id: DrillId) -> Applied {
    let now = state.now;
    let drill = running(state, id)?;
    let is_news = drill.renewed_at != now;
    drill.renewed_at = now;
    Ok(is_news)
}

pub(super) fn end(state: &mut State, context: &Context, id: DrillId, why: String, by_guard: bool) -> Applied {
    let now = state.now;
    let why = kept(why, KEPT_REASON);
    if state.drills.get(&id).is_some_and(|drill| !drill.is_running()) {
        return Ok(false);
    }
    running(state, id)?.ended = Some(Ended { at: now, why: why.clone(), by_guard });
    state.record(context, Event::DrillEnded { drill: id, why });
    Ok(true)
}

/// What came of it; of one that is over, and once.
pub(super) fn report(state: &mut State, context: &Context, id: DrillId, report: Report) -> Applied {
    report.check_size()?;
    let drill = of(state, id)?;
    if drill.is_running() {
        return Err(Refusal::NotAllowed {
            detail: format!("{id} is running: it is reported when it is over"),
        });
    }
    if drill.report.is_some() {
        return Ok(false);
    }
    let verdict = report.verdict;
    drill.report = Some(Arc::new(report));
    state.record(context, Event::DrillReported { drill: id, verdict });
    Ok(true)
}

fn running(state: &mut State, id: DrillId) -> Result<&mut Drill, Refusal> {
    let drill = of(state, id)?;
    match &drill.ended {
        None => Ok(drill),
        Some(ended) => Err(Refusal::NotAllowed { detail: format!("{id} is over: {}", ended.why) }),
    }
}

fn of(state: &mut State, id: DrillId) -> Result<&mut Drill, Refusal> {
    let drill = state.drills.get_mut(&id).ok_or_else(|| Refusal::Unknown { what: id.to_string() })?;
    Ok(Arc::make_mut(drill))
}
