//! Whether a primary can write, from what its probes found. A database that answers and does not
//! write is not healthy; one that is merely full of connections, or waits for a replica, is not dead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one attempt to commit something came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    Written,
    /// It does not write now, and another primary would not write either, or no better.
    Held {
        why: String,
    },
    /// It has no connection left for the probe.
    Crowded {
        why: String,
    },
    /// It answers that it recovers, and has all that it acknowledged.
    Recovering {
        why: String,
    },
    /// It does not answer, or its disk does not.
    Stalled {
        why: String,
    },
}

impl Probe {
    /// What is known after another probe. Clients whose commits hang come again, until no connection is left: that
    /// takes back nothing.
    pub fn then(self, next: Probe) -> Probe {
        match (&self, &next) {
            (Probe::Stalled { .. }, Probe::Crowded { .. }) => self,
            _ => next,
        }
    }

    /// Whether what hindered it, if anything does, would not be better elsewhere.
    pub fn is_alive(&self) -> bool {
        !matches!(self, Probe::Stalled { .. } | Probe::Recovering { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    /// For a person to look at; the lease goes on.
    Held {
        why: String,
    },
    /// Not for long enough yet.
    Ailing,
    /// It is ended, and the lease given back.
    Dead {
        why: String,
    },
}

/// A server that lost one of its processes is mostly back before another would be, and loses nothing.
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// Volumes of clouds, and hypervisors under load, stand still for two seconds and go on: to move for that costs a
/// second more, and what only this one has.
const PAUSE_OF_A_DISK: Duration = Duration::from_secs(5);

/// How long writes may hang before another is better: no shorter than the lease, so that a pause of
/// the disk is not worse than a lost region.
pub fn patience(lease_ttl: Duration) -> Duration {
    lease_ttl.max(PAUSE_OF_A_DISK)
}

/// `stalled_for`: since it was last alive.
pub fn judge(last: &Probe, stalled_for: Duration, lease_ttl: Duration) -> Health {
    match last {
        Probe::Written => Health::Well,
        Probe::Held { why } | Probe::Crowded { why } => Health::Held { why: why.clone() },
        Probe::Stalled { .. } if stalled_for < patience(lease_ttl) => Health::Ailing,
        Probe::Recovering { .. } if stalled_for < RECOVERS_WITHIN.max(lease_ttl) => Health::Ailing,
        Probe::Stalled { why } | Probe::Recovering { why } => {
            Health::Dead { why: format!("it has not written for {} s: {why}", stalled_for.as_secs()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hangs_and_hangs_on_is_dead() {
        let ttl = Duration::from_millis(4_200);
        let stalled = Probe::Stalled { why: "DataFileSync".into() };
        let held = Probe::Held { why: "too many connections".into() };
        let hour = Duration::from_secs(3_600);
        assert_eq!(judge(&Probe::Written, Duration::ZERO, ttl), Health::Well);
        assert!(matches!(judge(&held, hour, ttl), Health::Held { .. }));
        assert_eq!(judge(&stalled, Duration::from_millis(4_999), ttl), Health::Ailing);
        assert!(matches!(judge(&stalled, Duration::from_secs(5), ttl), Health::Dead { .. }));
        let recovers = Probe::Recovering { why: "a process was killed".into() };
        assert_eq!(judge(&recovers, Duration::from_secs(29), ttl), Health::Ailing);
        assert!(matches!(judge(&recovers, Duration::from_secs(31), ttl), Health::Dead { .. }));
        let fast = Duration::from_millis(550);
        assert_eq!(
            judge(&stalled, Duration::from_secs(3), fast),
            Health::Ailing,
            "a volume may stand still for so long, and go on"
        );
    }

    #[test]
    fn what_was_seen_to_hang_and_is_then_full_still_hangs() {
        let stalled = || Probe::Stalled { why: "DataFileSync".into() };
        let crowded = || Probe::Crowded { why: "too many connections".into() };
        assert_eq!(stalled().then(crowded()), stalled());
        assert_eq!(stalled().then(crowded()).then(crowded()), stalled());
        assert_eq!(
            stalled().then(Probe::Written).then(crowded()),
            crowded(),
            "clients alone are no sign of it"
        );
        assert!(crowded().is_alive() && !stalled().is_alive());
        assert!(matches!(judge(&crowded(), Duration::ZERO, Duration::from_secs(4)), Health::Held { .. }));
    }
}
