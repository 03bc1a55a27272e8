//! Blast radius: how many automatic moves a window may see (S5).

use std::fmt;
use std::time::Duration;

use crate::config::MoveLimits;
use crate::name::{RegionName, ServiceName};
use crate::state::State;
use crate::time::{Human, Time};

/// Services that leave one region within this time leave it for the same reason.
const SAME_EVENT: Duration = Duration::from_secs(60);

pub struct Exhausted {
    what: String,
    limit: u32,
    window: Duration,
    /// When the oldest move leaves the window.
    pub until: Time,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the limit is {} automatic moves in {}", self.what, self.limit, Human(self.window))
    }
}

/// Whether one more automatic move of `service` out of `from` would break a limit.
pub fn exhausted(
    state: &State,
    limits: &MoveLimits,
    service: &ServiceName,
    from: &RegionName,
    now: Time,
) -> Option<Exhausted> {
    let opened = state.plans.values().filter(|record| record.is_open() && !record.is_committed());
    let recent: Vec<(Time, &ServiceName, &RegionName)> = state
        .moves
        .iter()
        .filter(|moved| moved.automatic)
        .map(|moved| (moved.at, &moved.service, &moved.from))
        .chain(
            opened
                .filter(|record| record.plan.automatic)
                .map(|record| (record.opened_at, &record.plan.service, &record.plan.from)),
        )
        .filter(|(at, ..)| now.since(*at) < limits.window)
        .collect();
    let of_service: Vec<Time> =
        recent.iter().filter(|(_, moved, _)| *moved == service).map(|(at, ..)| *at).collect();
    if of_service.len() >= limits.per_service as usize {
        return Some(Exhausted {
            what: format!("{service} was moved {} times", of_service.len()),
            limit: limits.per_service,
            window: limits.window,
            until: of_service.iter().min().map_or(now, |oldest| *oldest + limits.window),
        });
    }
    let events = events(recent.iter().map(|(at, _, from)| (*at, *from)).chain([(now, from)]));
    if events.len() > limits.overall as usize {
        return Some(Exhausted {
            what: format!("{} regions were left", events.len() - 1),
            limit: limits.overall,
            window: limits.window,
            until: events.iter().min().map_or(now, |oldest| *oldest + limits.window),
        });
    }
    None
}

/// The beginnings of the events that moves belong to.
fn events<'a>(moves: impl Iterator<Item = (Time, &'a RegionName)>) -> Vec<Time> {
    let mut events: Vec<(Time, &RegionName)> = Vec::new();
    for (at, from) in moves {
        let known = events.iter().any(|(begun, region)| *region == from && at.since(*begun) < SAME_EVENT);
        if !known {
            events.push((at, from));
        }
    }
    events.into_iter().map(|(at, _)| at).collect()
}

/// Moves that no limit looks at any more.
pub fn forget_old(state: &mut State) {
    let Some(window) = state.config.as_ref().map(|config| config.strategy.moves.window) else { return };
    let now = state.now;
    state.moves.retain(|moved| now.since(moved.at) < window);
}
