//! Until when a server that takes writes may live: the rules by which its guard counts, without a clock or a process.

use serde::{Deserialize, Serialize};

use crate::planted::{self, Bug};

/// No lease is as long. One that reaches further is a mistake, such as a time of another clock, and
/// would never fire.
const MOST_AHEAD_NS: u64 = 3600 * 1_000_000_000;

/// Until when the server may live, in nanoseconds of the machine's clock since boot; what fencing takes is taken off
/// already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub epoch: u64,
    pub deadline_ns: u64,
}

/// Why a lease was not taken. The deadline is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the deadline has passed and fencing has begun; a lease cannot stop it")]
    Expired,
    #[error("epoch {epoch} is older than {newest}; the deadline stays")]
    StaleEpoch { epoch: u64, newest: u64 },
    #[error("within epoch {epoch} the deadline only moves forward; it stays")]
    Backward { epoch: u64 },
    #[error("the deadline passed {late_ms} ms ago; nothing was changed, ask for a new lease")]
    Past { late_ms: u64 },
    #[error("the deadline is over an hour ahead, so it is hardly of CLOCK_BOOTTIME; nothing was changed")]
    TooFar,
}

/// Whether the running server is armed, and what was ever accepted.
#[derive(Clone, Debug, Default)]
pub struct Deadline {
    /// The newest accepted, kept when the server ends: epochs never fall (S2).
    newest: Option<Lease>,
    /// Once set, only the end of the server and of all its children takes it back.
    is_armed: bool,
}

impl Deadline {
    /// Arms, or moves the deadline on.
    ///
    /// # Errors
    /// The deadline is as it was.
    pub fn arm(&mut self, lease: Lease, now: u64) -> Result<(), Refused> {
        let Lease { epoch, deadline_ns } = lease;
        if self.is_due(now) {
            return Err(Refused::Expired);
        }
        if let Some(newest) = self.newest {
            if epoch < newest.epoch {
                return Err(Refused::StaleEpoch { epoch, newest: newest.epoch });
            }
            if epoch == newest.epoch && deadline_ns < newest.deadline_ns {
                return Err(Refused::Backward { epoch });
            }
        }
        if deadline_ns <= now {
            return Err(Refused::Past { late_ms: (now - deadline_ns) / 1_000_000 });
        }
        if deadline_ns - now > MOST_AHEAD_NS {
            return Err(Refused::TooFar);
        }
        self.newest = Some(lease);
        self.is_armed = true;
        Ok(())
    }

    /// The server and all its children are proven gone.
    pub fn ended(&mut self) {
        self.is_armed = false;
    }

    pub fn armed(&self) -> Option<Lease> {
        self.newest.filter(|_| self.is_armed)
    }

    pub fn is_due(&self, now: u64) -> bool {
        self.armed().is_some_and(|lease| now >= lease.deadline_ns) && !planted::has(Bug::GuardLetsGo)
    }

    pub fn highest_epoch(&self) -> Option<u64> {
        self.newest.map(|lease| lease.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10_000_000_000;

    fn lease(epoch: u64, ahead: u64) -> Lease {
        Lease { epoch, deadline_ns: NOW + ahead }
    }

    fn armed(epoch: u64, ahead: u64) -> Deadline {
        let mut deadline = Deadline::default();
        deadline.arm(lease(epoch, ahead), NOW).unwrap();
        deadline
    }

    fn refused(deadline: &mut Deadline, lease: Lease, now: u64) -> Refused {
        let before = (deadline.armed(), deadline.highest_epoch());
        let refused = deadline.arm(lease, now).unwrap_err();
        assert_eq!(before, (deadline.armed(), deadline.highest_epoch()), "a refusal changes nothing");
        refused
    }

    #[test]
    fn epochs_never_fall_not_even_over_the_end_of_a_server() {
        let mut deadline = armed(5, 100);
        assert_eq!(refused(&mut deadline, lease(4, 200), NOW), Refused::StaleEpoch { epoch: 4, newest: 5 });
        deadline.ended();
        assert_eq!(refused(&mut deadline, lease(4, 200), NOW), Refused::StaleEpoch { epoch: 4, newest: 5 });
        deadline.arm(lease(5, 200), NOW).unwrap();
        deadline.arm(lease(6, 50), NOW).unwrap();
        assert_eq!(deadline.armed(), Some(lease(6, 50)), "a new epoch may be shorter");
    }

    #[test]
    fn within_an_epoch_the_deadline_only_moves_forward() {
        let mut deadline = armed(5, 100);
        assert_eq!(refused(&mut deadline, lease(5, 99), NOW), Refused::Backward { epoch: 5 });
        deadline.arm(lease(5, 100), NOW).unwrap();
        deadline.arm(lease(5, 101), NOW).unwrap();
        assert_eq!(deadline.armed(), Some(lease(5, 101)));
    }

    #[test]
    fn it_is_due_from_the_deadline_on_and_no_lease_takes_that_back() {
        let mut deadline = armed(5, 100);
        assert!(!deadline.is_due(NOW + 99));
        assert!(deadline.is_due(NOW + 100));
        assert_eq!(refused(&mut deadline, lease(5, 1_000), NOW + 100), Refused::Expired);
        assert_eq!(refused(&mut deadline, lease(6, 1_000), NOW + 100), Refused::Expired);
        deadline.ended();
        assert!(!deadline.is_due(NOW + 100));
        deadline.arm(lease(5, 1_000), NOW + 100).unwrap();
    }

    #[test]
    fn the_deadline_must_lie_ahead_and_not_too_far() {
        let mut deadline = Deadline::default();
        assert_eq!(refused(&mut deadline, lease(1, 0), NOW), Refused::Past { late_ms: 0 });
        assert_eq!(refused(&mut deadline, lease(1, MOST_AHEAD_NS + 1), NOW), Refused::TooFar);
        // The wall clock, taken for the clock since boot.
        let wall = Lease { epoch: 1, deadline_ns: 1_700_000_000_000_000_000 };
        assert_eq!(refused(&mut deadline, wall, NOW), Refused::TooFar);
        assert!(!deadline.is_due(u64::MAX), "what was never armed is never due");
    }
}
