//! Blast radius: how many automatic moves a window may see (S5).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config::MoveLimits;
use crate::name::{RegionName, ServiceName};
use crate::plan::Kind;
use crate::planted::{self, Bug};
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

/// Whether one more automatic move of `service` out of `from` would break a limit. Changes of the
/// weighted records have a budget of their own, of the same size: a region that flaps there must
/// not use up the moves that the primary may need.
pub fn exhausted(
    state: &State,
    limits: &MoveLimits,
    kind: Kind,
    service: &ServiceName,
    from: &RegionName,
    now: Time,
) -> Option<Exhausted> {
    if planted::has(Bug::MovesNotBounded) {
        return None;
    }
    let mut recent = recent(state, limits.window, kind.moves_primary(), now);
    let of_service: Vec<Time> =
        recent.iter().filter(|made| made.service == service).map(|made| made.at).collect();
    let window = limits.window;
    if of_service.len() >= limits.per_service as usize {
        let what = format!("{service} was moved {} times", of_service.len());
        let until = of_service.iter().min().map_or(now, |oldest| *oldest) + window;
        return Some(Exhausted { what, limit: limits.per_service, window, until });
    }
    recent.push(Made { at: now, decided_at: now, service, from });
    let events = events(&mut recent);
    if events.len() > limits.overall as usize {
        let what = format!("{} regions were left", events.len() - 1);
        // An event leaves the window with its last move.
        let until = events.iter().min().map_or(now, |oldest| *oldest) + window;
        return Some(Exhausted { what, limit: limits.overall, window, until });
    }
    None
}

/// How many events of automatic moves the window that ends now has seen (S5).
pub fn events_within(state: &State, window: Duration, moves_primary: bool, now: Time) -> usize {
    let mut made: Vec<Made> = made(state, moves_primary).filter(|made| now.since(made.at) < window).collect();
    events(&mut made).len()
}

struct Made<'a> {
    at: Time,
    decided_at: Time,
    service: &'a ServiceName,
    from: &'a RegionName,
}

/// The automatic moves that took effect.
fn made(state: &State, moves_primary: bool) -> impl Iterator<Item = Made<'_>> {
    let moves = state.moves.iter();
    moves.filter(move |moved| moved.automatic && moved.kind.moves_primary() == moves_primary).map(|moved| {
        Made { at: moved.at, decided_at: moved.decided_at, service: &moved.service, from: &moved.from }
    })
}

/// Also those that are still to take effect, however long they have waited.
fn recent(state: &State, window: Duration, moves_primary: bool, now: Time) -> Vec<Made<'_>> {
    let to_come = state
        .plans
        .values()
        .filter(|record| record.plan.automatic && record.plan.kind.moves_primary() == moves_primary)
        .filter(|record| record.is_open() && !record.has_moved())
        .map(|record| Made {
            at: now,
            decided_at: record.opened_at,
            service: &record.plan.service,
            from: &record.plan.from,
        });
    made(state, moves_primary).filter(|made| now.since(made.at) < window).chain(to_come).collect()
}

/// When the last move of each event took effect. What was decided to leave one region within
/// [`SAME_EVENT`] is one event.
fn events(made: &mut [Made]) -> Vec<Time> {
    made.sort_by_key(|made| made.decided_at);
    let mut begun: BTreeMap<&RegionName, usize> = BTreeMap::new();
    let mut events: Vec<(Time, Time)> = Vec::new();
    for made in made.iter() {
        let same = begun.get(made.from).copied().filter(|n| made.decided_at.since(events[*n].0) < SAME_EVENT);
        match same {
            Some(n) => events[n].1 = events[n].1.max(made.at),
            None => {
                begun.insert(made.from, events.len());
                events.push((made.decided_at, made.at));
            }
        }
    }
    events.into_iter().map(|(_, last)| last).collect()
}

/// Moves that no limit looks at any more.
pub fn forget_old(state: &mut State) {
    let Some(window) = state.config.as_ref().map(|config| config.strategy.moves.window) else { return };
    let now = state.now;
    state.moves.retain(|moved| now.since(moved.at) < window);
}
