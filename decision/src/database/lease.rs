//! How long a primary may take writes. The agent counts from the moment it sent the renewal that
//! was answered, the leader from the moment it received it and longer by what clocks may drift: so
//! the agent's end comes first, whatever the network does (S1, S4). The argument is in
//! `docs/FENCING.md`.

use std::time::Duration;

use super::deadline;
use crate::config::LeaseTimings;
use crate::name::{AgentId, ServiceName};
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::{Time, Uptime};

/// How much faster one machine's clock may run than another's, in millionths. A crystal is off by
/// some 100, a virtual machine under NTP by 500 at most (RFC 5905: MAXFREQ).
pub const MAX_DRIFT_PPM: u32 = 10_000;

/// How long the leader counts a lease from the receipt of its last renewal.
pub fn span(ttl: Duration) -> Duration {
    const MILLION: u128 = 1_000_000;
    if planted::has(Bug::LeaseEndsEarly) {
        return ttl / 2;
    }
    let drifted_ms = (ttl.as_millis() * (MILLION + u128::from(MAX_DRIFT_PPM))).div_ceil(MILLION);
    // Times are whole milliseconds, and both ends were cut.
    Duration::from_millis(u64::try_from(drifted_ms + 2).unwrap_or(u64::MAX))
}

/// When the leader may be sure that it is over.
pub fn expires(heard: Time, ttl: Duration) -> Time {
    heard + span(ttl)
}

/// How long after the sending of a renewal the guard kills, unless a later one was answered.
pub fn guard_after(ttl: Duration, fence_budget: Duration) -> Duration {
    ttl.saturating_sub(fence_budget)
}

/// What an agent keeps renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub epoch: Epoch,
    pub timings: LeaseTimings,
    /// When it was first said that this instance is ready, if the grant came surely after.
    pub ready: Option<Uptime>,
}

impl Wanted {
    /// The lease that comes with the grant: whoever was granted it said before that it was ready.
    pub fn first(&self) -> Option<Held> {
        self.ready.map(|ready| self.granted(ready))
    }

    /// `sent`: when what was answered was sent (S1), and not when the answer came.
    pub fn granted(&self, sent: Uptime) -> Held {
        let after = guard_after(self.timings.ttl, self.timings.fence_budget);
        Held { epoch: self.epoch, deadline: sent + after }
    }
}

/// A lease as its guard is to count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub epoch: Epoch,
    /// When the guard kills.
    pub deadline: Uptime,
}

impl Held {
    pub fn left(&self, now: Uptime) -> Duration {
        self.deadline.since(now)
    }

    /// Whether it takes the place of `before`: an answer may come after that to a later renewal.
    pub fn is_after(&self, before: Option<Held>) -> bool {
        before.is_none_or(|before| {
            before.epoch < self.epoch || before.epoch == self.epoch && before.deadline < self.deadline
        })
    }

    pub fn for_guard(&self) -> deadline::Lease {
        deadline::Lease { epoch: self.epoch.0, deadline_ns: self.deadline.0 }
    }
}

/// Why this agent may not have the lease of this epoch, by what the leader knows.
pub fn refusal(state: &State, agent: &AgentId, service: &ServiceName, epoch: Epoch) -> Option<String> {
    let Some((_, held)) = state.database(service) else {
        return Some(format!("there is no database of {service}"));
    };
    if planted::has(Bug::StaleEpochsRenewed) {
        return None;
    }
    if epoch != held.epoch {
        return Some(format!("epoch {epoch} is stale: the lease of {service} is at {}", held.epoch));
    }
    if agent.ordinal != 1 || held.holder() != Some(&agent.region) {
        let holder = held.holder().map_or("nobody", |region| region.as_str());
        return Some(format!("the lease of {service} at epoch {epoch} is held by {holder}"));
    }
    // One that ends in order holds it until it has.
    let is_fenced = state.fencing(service, &agent.region).is_some_and(|fencing| !fencing.lossless);
    is_fenced.then(|| format!("{service} is being fenced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for_and_late_answers_do_not_shorten_it() {
        let ms = Duration::from_millis;
        let timings = LeaseTimings { ttl: ms(1_000), renew_every: ms(100), fence_budget: ms(200) };
        let wanted = |epoch, ready| Wanted { epoch: Epoch(epoch), timings, ready };
        assert_eq!(wanted(3, None).first(), None);
        let first = wanted(3, Some(Uptime(0))).first().unwrap();
        assert_eq!(first, Held { epoch: Epoch(3), deadline: Uptime(0) + ms(800) });
        assert_eq!(first.left(Uptime(0) + ms(700)), ms(100));
        assert_eq!(first.left(Uptime(0) + ms(900)), Duration::ZERO);
        let later = wanted(3, None).granted(Uptime(0) + ms(100));
        assert!(later.is_after(Some(first)) && later.is_after(None));
        assert!(!first.is_after(Some(later)) && !first.is_after(Some(first)));
        assert!(wanted(4, None).granted(Uptime(0)).is_after(Some(later)), "of a newer epoch");
        assert!(!later.is_after(Some(wanted(4, None).granted(Uptime(0)))));
    }

    #[test]
    fn the_holder_is_over_before_the_leader_counts_it_over() {
        for ttl_ms in [1, 550, 3_500, 20_000] {
            let ttl = Duration::from_millis(ttl_ms);
            // The holder's clock runs as slow against the leader's as is allowed, and the renewal took no time.
            let slow_ms = ttl_ms as f64 * (1.0 + f64::from(MAX_DRIFT_PPM) / 1e6);
            assert!(expires(Time(1_000), ttl).0 as f64 > 1_000.0 + slow_ms);
            assert!(guard_after(ttl, ttl / 10) < ttl);
        }
        assert_eq!(guard_after(Duration::from_millis(5), Duration::from_millis(9)), Duration::ZERO);
    }
}
