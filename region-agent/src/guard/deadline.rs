//! The rules of the deadline, without a clock or a process.

use super::protocol::{Code, Lease, Refusal};

/// No lease is as long. One that reaches further is a mistake, such as a time of another clock, and
/// would never fire.
pub const MOST_AHEAD_NS: u64 = 3600 * 1_000_000_000;

/// Whether the running postmaster is armed, and what was ever accepted.
#[derive(Debug, Default)]
pub struct Deadline {
    /// The newest accepted, kept when the postmaster ends: epochs never fall (S2).
    newest: Option<Lease>,
    /// Once set, only the end of the postmaster and of all its children takes it back.
    is_armed: bool,
}

impl Deadline {
    /// Arms, or moves the deadline on.
    ///
    /// # Errors
    /// The deadline is as it was.
    pub fn arm(&mut self, lease: Lease, now: u64) -> Result<(), Refusal> {
        let Lease { epoch, deadline_ns } = lease;
        if self.is_due(now) {
            let why = "the deadline has passed and fencing has begun; a lease cannot stop it".to_owned();
            return Err(Refusal { code: Code::Expired, why });
        }
        if let Some(newest) = self.newest {
            if epoch < newest.epoch {
                let why = format!("epoch {epoch} is older than {}; the deadline stays", newest.epoch);
                return Err(Refusal { code: Code::StaleEpoch, why });
            }
            if epoch == newest.epoch && deadline_ns < newest.deadline_ns {
                let why = format!("within epoch {epoch} the deadline only moves forward; it stays");
                return Err(Refusal { code: Code::Backward, why });
            }
        }
        if deadline_ns <= now {
            let late = (now - deadline_ns) / 1_000_000;
            let why = format!("the deadline passed {late} ms ago; nothing was changed, ask for a new lease");
            return Err(Refusal { code: Code::Past, why });
        }
        if deadline_ns - now > MOST_AHEAD_NS {
            let why =
                "the deadline is over an hour ahead, so it is hardly of CLOCK_BOOTTIME; nothing was changed";
            return Err(Refusal { code: Code::TooFar, why: why.to_owned() });
        }
        self.newest = Some(lease);
        self.is_armed = true;
        Ok(())
    }

    /// The postmaster and all its children are proven gone.
    pub fn ended(&mut self) {
        self.is_armed = false;
    }

    pub fn armed(&self) -> Option<Lease> {
        self.newest.filter(|_| self.is_armed)
    }

    pub fn is_due(&self, now: u64) -> bool {
        self.armed().is_some_and(|lease| now >= lease.deadline_ns)
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

    fn refused(deadline: &mut Deadline, lease: Lease, now: u64) -> Code {
        let before = (deadline.armed(), deadline.highest_epoch());
        let code = deadline.arm(lease, now).unwrap_err().code;
        assert_eq!(before, (deadline.armed(), deadline.highest_epoch()), "a refusal changes nothing");
        code
    }

    #[test]
    fn epochs_never_fall_not_even_over_the_end_of_a_postmaster() {
        let mut deadline = armed(5, 100);
        assert_eq!(refused(&mut deadline, lease(4, 200), NOW), Code::StaleEpoch);
        deadline.ended();
        assert_eq!(refused(&mut deadline, lease(4, 200), NOW), Code::StaleEpoch);
        deadline.arm(lease(5, 200), NOW).unwrap();
        deadline.arm(lease(6, 50), NOW).unwrap();
        assert_eq!(deadline.armed(), Some(lease(6, 50)), "a new epoch may be shorter");
    }

    #[test]
    fn within_an_epoch_the_deadline_only_moves_forward() {
        let mut deadline = armed(5, 100);
        assert_eq!(refused(&mut deadline, lease(5, 99), NOW), Code::Backward);
        deadline.arm(lease(5, 100), NOW).unwrap();
        deadline.arm(lease(5, 101), NOW).unwrap();
        assert_eq!(deadline.armed(), Some(lease(5, 101)));
    }

    #[test]
    fn it_is_due_from_the_deadline_on_and_no_lease_takes_that_back() {
        let mut deadline = armed(5, 100);
        assert!(!deadline.is_due(NOW + 99));
        assert!(deadline.is_due(NOW + 100));
        assert_eq!(refused(&mut deadline, lease(5, 1_000), NOW + 100), Code::Expired);
        assert_eq!(refused(&mut deadline, lease(6, 1_000), NOW + 100), Code::Expired);
        deadline.ended();
        assert!(!deadline.is_due(NOW + 100));
        deadline.arm(lease(5, 1_000), NOW + 100).unwrap();
    }

    #[test]
    fn the_deadline_must_lie_ahead_and_not_too_far() {
        let mut deadline = Deadline::default();
        assert_eq!(refused(&mut deadline, lease(1, 0), NOW), Code::Past);
        assert_eq!(refused(&mut deadline, lease(1, MOST_AHEAD_NS + 1), NOW), Code::TooFar);
        // The wall clock, taken for the clock since boot.
        let wall = Lease { epoch: 1, deadline_ns: 1_700_000_000_000_000_000 };
        assert_eq!(refused(&mut deadline, wall, NOW), Code::TooFar);
        assert!(!deadline.is_due(u64::MAX), "what was never armed is never due");
    }
}
