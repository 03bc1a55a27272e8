use super::{Applied, Context, KEPT_REASON, kept, zone};
use crate::command::{AgentInfo, Refusal};
use crate::event::Event;
use crate::name::AgentId;
use crate::state::{Session, State};

pub(super) fn open(state: &mut State, context: &Context, agent: AgentId, info: AgentInfo) -> Applied {
    let config = state.config.as_ref().ok_or(Refusal::NotConfigured)?;
    let expected = config
        .region(&agent.region)
        .is_some_and(|region| agent.ordinal >= 1 && agent.ordinal <= region.agents);
    if !expected {
        return Err(Refusal::Unknown { what: format!("agent {agent} in the configuration") });
    }
    let info = AgentInfo {
        dns: info.dns.filter(|address| address.len() <= KEPT_REASON),
        version: kept(info.version, KEPT_REASON),
        peer: info.peer.filter(|address| address.len() <= KEPT_REASON),
    };
    let session = Session { info, live: true, since: state.now };
    let before = state.sessions.get(&agent);
    if before.is_some_and(|before| before.live && before.info == session.info) {
        return Ok(false);
    }
    let moved = before.is_none_or(|before| before.info.dns != session.info.dns);
    state.sessions.insert(agent.clone(), session);
    state.record(context, Event::SessionOpened { agent });
    if moved {
        zone::rebuild(state, context);
    }
    Ok(true)
}

/// What the vantage last said is forgotten with its session: it must speak afresh.
pub(super) fn lose(state: &mut State, context: &Context, agent: AgentId) -> Applied {
    let now = state.now;
    let Some(session) = state.sessions.get_mut(&agent) else {
        return Err(Refusal::Unknown { what: format!("session of agent {agent}") });
    };
    if !session.live {
        return Ok(false);
    }
    session.live = false;
    session.since = now;
    state.evidence.remove(&agent);
    state.record(context, Event::SessionLost { agent });
    Ok(true)
}
